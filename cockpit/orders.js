/** The orders that can be given, each with the dialog that says what it will do. */

import { ask, choice, field } from "./dialog.js";
import { counted, list, moment } from "./words.js";

const HOLD_S = 300;
const DELAY_S = 300;
const DELAY_MAX_S = 1000;
const HOLD_MAX_S = 4294967295; // a u of D-Bus
const WARNINGS_MAX = 10; // of up to 255
const REASON_MAX = 256;

function good(text) {
    return { text, kind: "success" };
}

/** Orders to one daemon. */
export class Orders {
    /**
     * @param {import("./daemon.js").Daemon} daemon
     * @param {function({text: string, kind: string})} announce shows an outcome
     */
    constructor(daemon, announce) {
        this.daemon = daemon;
        this.announce = announce;
    }

    ask(asked) {
        ask(asked, this.announce);
    }

    get node() {
        return this.daemon.manager.NodeName;
    }

    /**
     * Have another node take a group.
     * @param {Object} group
     */
    stepDown(group) {
        const what = list(group.VirtualIPs);
        const hold = field("Hold, in seconds",
            { type: "number", min: "0", max: String(HOLD_MAX_S), step: "1", value: String(HOLD_S), required: true },
            "For so long this node does not want the group back, unless no other node serves it. " +
            "0: the preemption policy alone decides.");
        this.ask({
            title: `Step ${group.Name} down?`,
            subject: group.Name,
            says: [
                `Another node takes ${what}. ${this.node} answers until it does.`,
                `If no other node takes the group, ${this.node} keeps it.`,
            ],
            fields: [hold.element],
            action: "Step down",
            run: async () => {
                await this.daemon.order(group.path, "Group", "StepDown", [Number(hold.input.value)]);
                return good(`${group.Name}: another node has taken ${what}.`);
            },
        });
    }

    /**
     * Take a group to this node.
     * @param {Object} group
     */
    takeOver(group) {
        const what = list(group.VirtualIPs);
        const from = group.Master ? ` from ${group.Master}` : "";
        this.ask({
            title: `Take ${group.Name} over?`,
            subject: group.Name,
            says: [
                `${this.node} takes ${what}${from}, whatever the preemption policies are. ` +
                    "The move takes about a millisecond.",
                `It keeps the group until it loses it or steps it down.`,
            ],
            action: "Take over",
            run: async () => {
                await this.daemon.order(group.path, "Group", "TakeOver");
                return good(`${group.Name}: ${this.node} has taken ${what}.`);
            },
        });
    }

    /**
     * Order a preemption policy, or go back to that of the configuration.
     * @param {Object} target a failover or a group
     * @param {string} face "Failover" or "Group"
     */
    preemption(target, face) {
        const whole = face === "Failover";
        const [policy, delay] = target.Preemption.split(" ");
        const policies = choice("Policy", [
            ["preempt", "preempt: this node takes back at once what it is preferred for"],
            ["preempt_delay", "preempt_delay: it takes that back after the delay below"],
            ["nopreempt", "nopreempt: nothing moves back by itself"],
            ["reset", whole ? "Reset: what the configuration says" : "Reset: what the failover has"],
        ], policy);
        const seconds = field("Delay, in seconds, for preempt_delay alone",
            { type: "number", min: "0", max: String(DELAY_MAX_S), step: "1", value: delay || String(DELAY_S) });
        this.ask({
            title: `Change preemption of ${target.Name}?`,
            subject: target.Name,
            says: [
                `Now it is ${target.Preemption}, by ${origin(target)}.`,
                whole ? "The policy is for all groups of the failover, in place of any that one of them has."
                    : "The policy is for this group alone.",
                "No virtual IP moves by this: it says what happens from the next change on. It is for this node, and " +
                "holds until it is reset or the node reboots.",
            ],
            fields: [policies.element, seconds.element],
            action: "Change preemption",
            run: () => this.changePreemption(target, face, policies.value(), seconds.input.value),
        });
    }

    async changePreemption(target, face, policy, delay) {
        if (policy === "reset") {
            await this.daemon.order(target.path, face, "ResetPreemption");
            return good(`${target.Name}: the preemption policy is reset.`);
        }
        const full = policy === "preempt_delay" ? `${policy} ${delay}` : policy;
        await this.daemon.order(target.path, face, "SetPreemption", [full]);
        return good(`${target.Name}: the preemption policy is ${full}.`);
    }

    /** Give up every group; or change reason and end of a maintenance that is on. */
    enterMaintenance() {
        const { Maintenance: on, MaintenanceReason: before, MaintenanceUntil: until } = this.daemon.manager;
        const reason = field("Reason", { type: "text", maxlength: String(REASON_MAX), value: on ? before : "" },
            "Whoever looks at this node reads it. It may be empty.");
        const end = field("End", { type: "datetime-local", step: "1", value: until ? moment(until).replace(" ", "T") : "" },
            "In the time zone of this browser. Empty: it lasts until somebody leaves it.");
        const held = this.daemon.failovers().flatMap(each => this.daemon.groups(each))
                .filter(group => group.State === "master");
        this.ask({
            title: on ? `Change the maintenance of ${this.node}?` : `Enter maintenance on ${this.node}?`,
            subject: this.node,
            says: [
                on ? "Reason and end are replaced. No virtual IP moves."
                    : this.handsOver(held.length),
                "It holds none from then on, over restarts and reboots. " +
                "A group that no other node takes is on no node; you are told which.",
            ],
            fields: [reason.element, end.element],
            action: on ? "Change maintenance" : "Enter maintenance",
            run: () => this.doMaintenance(reason.input.value, end.input.value),
        });
    }

    handsOver(groups) {
        if (groups === 0)
            return `${this.node} is master of no group, so no virtual IP moves.`;
        return `${this.node} is master of ${counted(groups, "group")}. What it has goes to another node, one group ` +
            "after the other, and it answers until the other node does.";
    }

    async doMaintenance(reason, end) {
        const until = end ? new Date(end).getTime() * 1000 : 0;
        if (until && until <= Date.now() * 1000)
            throw new Error(`the end, ${moment(until)}, is over already`);
        const [warnings] = await this.daemon.order("", "Manager", "EnterMaintenance", [reason, until]);
        const done = `${this.node} is in maintenance${until ? ` until ${moment(until)}` : ""}.`;
        if (warnings.length === 0)
            return good(done);
        const more = warnings.length - WARNINGS_MAX;
        const rest = more > 0 ? [`and ${counted(more, "group")} more, see Problems`] : [];
        return { text: [done, ...warnings.slice(0, WARNINGS_MAX), ...rest].join("\n"), kind: "warning" };
    }

    /** Take part again. */
    leaveMaintenance() {
        this.ask({
            title: `Leave maintenance on ${this.node}?`,
            subject: this.node,
            says: [`${this.node} takes part again. The preemption policies say which virtual IPs it gets, and when.`],
            action: "Leave maintenance",
            run: async () => {
                await this.daemon.order("", "Manager", "LeaveMaintenance");
                return good(`${this.node} takes part again.`);
            },
        });
    }
}

/**
 * Where a preemption policy comes from, in words.
 * @param {Object} target a failover or a group
 * @returns {string}
 */
export function origin(target) {
    return target.PreemptionOrigin === "runtime" ? "order" : "configuration";
}

/** The virtual IPs: for each failover what it is about, and a line for each group. */

import { byId, button, cell, element, setText, table, Views } from "./dom.js";
import { origin } from "./orders.js";
import { counted, moment } from "./words.js";

const HEADINGS = ["Group", "Virtual IPs", "State here", "Master", "Since", "Why", "Preemption", "Orders"];
const CHECKS = { passing: "check passes", failing: "check fails", pending: "check has not run yet", disabled: "no check" };

class Address {
    constructor(address) {
        this.mark = element("span", { class: "held" });
        this.element = element("li", {}, element("span", { class: "address" }, address), " ", this.mark);
    }

    update(held) {
        setText(this.mark, held ? "held here" : "");
    }
}

class Row {
    constructor(orders) {
        this.orders = orders;
        this.name = element("span", { class: "name" });
        const list = element("ul", { class: "plain" });
        this.addresses = new Views(list, address => new Address(address));
        this.state = element("span");
        this.master = element("span", { class: "master-address" });
        this.since = element("time");
        this.why = element("span", { class: "why" });
        this.policy = element("span");
        this.move = button("", () => this.ordered());
        this.preempt = button("Preemption…", () => orders.preemption(this.group, "Group"));
        const buttons = element("div", { class: "buttons" }, this.move, this.preempt);
        const inside = [this.name, list, this.state, this.master, this.since, this.why, this.policy, buttons];
        this.element = element("tr", { role: "row" }, ...inside.map((each, index) => cell(HEADINGS[index], each)));
    }

    ordered() {
        if (this.group.State === "master")
            this.orders.stepDown(this.group);
        else
            this.orders.takeOver(this.group);
    }

    update(group) {
        this.group = group;
        setText(this.name, group.Name);
        const held = new Set(group.held);
        const addresses = this.addresses.show(group.VirtualIPs);
        addresses.forEach((view, index) => view.update(held.has(group.VirtualIPs[index])));
        setText(this.state, group.State);
        this.state.className = `state ${group.State}`;
        setText(this.master, group.Master || "nobody");
        setText(this.since, moment(group.Since));
        this.since.dateTime = new Date(group.Since / 1000).toISOString();
        setText(this.why, group.StateReason);
        setText(this.policy, `${group.Preemption}${group.PreemptionOrigin === "runtime" ? " (by order)" : ""}`);
        const verb = group.State === "master" ? "Step down" : "Take over";
        setText(this.move, `${verb}…`);
        this.move.setAttribute("aria-label", `${verb} ${group.Name}`);
        this.preempt.setAttribute("aria-label", `Preemption of ${group.Name}`);
    }

    /** Hide the row unless each of some words is in it; answers whether it is shown. */
    match(words) {
        const { Name, State, Master, VirtualIPs, Preemption, failover } = this.group;
        const text = [failover, Name, State, Master, Preemption, ...VirtualIPs].join(" ").toLowerCase();
        const shown = words.every(word => text.includes(word));
        this.element.hidden = !shown;
        return shown;
    }
}

class Failover {
    constructor(path, daemon, orders) {
        this.daemon = daemon;
        this.title = element("h3", { id: `failover-${path.split("/").at(-1)}` });
        this.about = element("p", { class: "quiet" });
        this.preempt = button("Preemption…", () => orders.preemption(this.failover, "Failover"));
        const heading = element("div", { class: "heading" }, element("div", {}, this.title, this.about),
            element("div", { class: "buttons" }, this.preempt));
        const { table: rows, body } = table("", HEADINGS);
        this.table = rows;
        this.rows = new Views(body, () => new Row(orders));
        this.element = element("section", { class: "failover", "aria-labelledby": this.title.id }, heading, rows);
    }

    update(failover) {
        this.failover = failover;
        setText(this.title, failover.Name);
        setText(this.about, [
            `on ${failover.Interface}`, `keepalived ${failover.KeepalivedState}`,
            failover.CheckText ? `${CHECKS[failover.CheckState]}: ${failover.CheckText}` : CHECKS[failover.CheckState],
            failover.Unicast ? `unicast to ${failover.Peers.join(", ")}` : "multicast",
            `preemption ${failover.Preemption}, by ${origin(failover)}`, failover.ConfigurationFile,
        ].join(" · "));
        this.preempt.setAttribute("aria-label", `Preemption of all groups of ${failover.Name}`);
        this.table.setAttribute("aria-label", `Groups of ${failover.Name}`);
        const groups = this.daemon.groups(failover);
        const rows = this.rows.show(groups.map(group => group.path));
        rows.forEach((row, index) => row.update({ ...groups[index], failover: failover.Name }));
        this.shown = rows;
    }

    /** Show the rows that match; answers how many do. */
    match(words) {
        const found = this.shown.filter(row => row.match(words)).length;
        this.element.hidden = found === 0 && words.length > 0;
        return found;
    }
}

/** The section of the virtual IPs. */
export class Groups {
    /**
     * @param {import("./daemon.js").Daemon} daemon
     * @param {import("./orders.js").Orders} orders
     */
    constructor(daemon, orders) {
        this.daemon = daemon;
        this.failovers = new Views(byId("failovers"), path => new Failover(path, daemon, orders));
        this.shown = [];
        byId("filter").addEventListener("input", () => this.filter());
    }

    /** Show what the daemon says now. */
    update() {
        const failovers = this.daemon.failovers();
        this.shown = this.failovers.show(failovers.map(each => each.path));
        this.shown.forEach((view, index) => view.update(failovers[index]));
        byId("holders-none").hidden = failovers.length > 0;
        byId("filter-box").hidden = failovers.length === 0;
        this.filter();
    }

    filter() {
        const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
        const all = this.shown.reduce((sum, view) => sum + view.shown.length, 0);
        const found = this.shown.reduce((sum, view) => sum + view.match(words), 0);
        const none = "No group matches the filter.";
        setText(byId("filter-count"), !words.length ? counted(all, "group") : found ? `${found} of ${all} groups` : none);
    }
}

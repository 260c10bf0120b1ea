/** What changed: the section of the history. */

import { byId, button, cell, element, table } from "./dom.js";
import { moment } from "./words.js";

const HEADINGS = ["Time", "Group", "Change", "Why"];
const FIRST = 50;

function row(transition) {
    const { usec, name, old, new: now, reason } = transition;
    const time = element("time", { datetime: new Date(usec / 1000).toISOString() }, moment(usec));
    const change = element("span", {}, `${old} → `, element("span", { class: `state ${now}` }, now));
    const inside = [time, name, change, reason];
    return element("tr", { role: "row" }, ...inside.map((each, index) => cell(HEADINGS[index], each)));
}

/** The section of the history, newest first. */
export class History {
    /** @param {import("./daemon.js").Daemon} daemon */
    constructor(daemon) {
        this.daemon = daemon;
        this.all = false;
        const { table: rows, body } = table("Changes of state, newest first", HEADINGS);
        this.table = rows;
        this.body = body;
        this.more = button("Show all that is kept", () => this.showAll());
        byId("history-table").append(rows);
        byId("history-more").append(this.more);
        this.turn = 0;
        this.shown();
    }

    /** Read it anew. What comes meanwhile is in the answer. */
    async read() {
        this.turn += 1;
        const turn = this.turn;
        const found = await this.daemon.history(this.all ? 0 : FIRST + 1).catch(() => null);
        if (found === null || turn !== this.turn)
            return;
        const more = !this.all && found.length > FIRST;
        this.body.replaceChildren(...found.slice(0, this.all ? undefined : FIRST).map(row));
        this.more.hidden = !more;
        this.shown();
    }

    async showAll() {
        this.all = true;
        await this.read();
        this.table.tabIndex = -1; // the button is gone: reading goes on where it was
        this.table.focus();
    }

    /**
     * Put one more on top.
     * @param {Object} transition
     */
    add(transition) {
        this.body.prepend(row(transition));
        while (!this.all && this.body.childElementCount > FIRST) {
            this.body.lastElementChild.remove();
            this.more.hidden = false;
        }
        this.shown();
    }

    shown() {
        const none = this.body.childElementCount === 0;
        byId("history-none").hidden = !none;
        this.table.hidden = none;
        if (none)
            this.more.hidden = true;
    }
}

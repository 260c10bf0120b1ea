/** What is told besides being shown: to screen readers what changed, to everybody how an order ended. */

import { button, byId, element } from "./dom.js";
import { counted } from "./words.js";

const BURST_MS = 500; // what comes within it is told together
const EACH_MAX = 3; // of one burst; more are only counted
const OUTCOMES_MAX = 3;

/** Tells changes of state, problems and outcomes. */
export class News {
    constructor() {
        this.waiting = [];
    }

    /**
     * Have screen readers say it soon.
     * @param {string} text
     */
    tell(text) {
        this.waiting.push(text);
        if (this.waiting.length === 1)
            setTimeout(() => this.flush(), BURST_MS);
    }

    flush() {
        const told = this.waiting;
        this.waiting = [];
        const text = told.length > EACH_MAX ? `${counted(told.length, "change")}, see the page.` : told.join(" ");
        byId("news").textContent = text;
    }

    /**
     * Show how an order ended, until somebody takes it away; what went well only until the next one.
     * @param {{text: string, kind: string}} outcome
     */
    show(outcome) {
        const shown = element("div", { class: `notice outcome ${outcome.kind}` },
            element("p", { class: "lines" }, outcome.text));
        const close = button("Close", () => {
            shown.remove();
            byId("title").focus();
        });
        close.setAttribute("aria-label", "Close this message");
        shown.append(close);
        const all = byId("outcomes");
        all.querySelectorAll(".success").forEach(each => each.remove());
        all.append(shown);
        while (all.childElementCount > OUTCOMES_MAX)
            all.firstElementChild.remove();
    }
}

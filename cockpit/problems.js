/** What is wrong now: the section of the problems. */

import { byId, element, setText, Views } from "./dom.js";
import { moment, sentence } from "./words.js";

class Problem {
    constructor() {
        this.title = element("h3");
        this.text = element("p", { class: "lines" });
        this.hint = element("p", { class: "lines" });
        this.since = element("p", { class: "quiet" });
        this.element = element("li", { class: "notice danger" }, this.title, this.text, this.hint, this.since);
    }

    update(problem) {
        setText(this.title, `${problem.object}: ${problem.code}`);
        setText(this.text, sentence(problem.text));
        setText(this.hint, problem.hint ? sentence(problem.hint) : "");
        this.hint.hidden = !problem.hint;
        setText(this.since, `since ${moment(problem.since)}`);
    }
}

/** The section of the problems. */
export class Problems {
    /** @param {import("./daemon.js").Daemon} daemon */
    constructor(daemon) {
        this.daemon = daemon;
        this.views = new Views(byId("problems-list"), () => new Problem());
    }

    /** Show what the daemon says now. */
    update() {
        const problems = this.daemon.problems();
        const views = this.views.show(problems.map(each => `${each.code} ${each.object}`));
        views.forEach((view, index) => view.update(problems[index]));
        byId("problems-none").hidden = problems.length > 0;
        setText(byId("problems-title"), problems.length ? `Problems (${problems.length})` : "Problems");
    }
}

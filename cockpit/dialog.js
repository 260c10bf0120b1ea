/** A dialog that says what will happen, asks what has to be known for it, and does it. */

import { button, byId, element } from "./dom.js";
import { refusal } from "./words.js";

let made = 0;

/**
 * A field with its label.
 * @param {string} label
 * @param {Object} given attributes of the input
 * @param {string} help a sentence below it
 * @returns {{element: HTMLElement, input: HTMLInputElement}}
 */
export function field(label, given, help = "") {
    made += 1;
    const id = `field-${made}`;
    const described = help ? { "aria-describedby": `${id}-help` } : {};
    const input = element("input", { id, ...given, ...described });
    const parts = [element("label", { for: id }, label), input];
    if (help)
        parts.push(element("p", { id: `${id}-help`, class: "quiet" }, help));
    return { element: element("div", { class: "field" }, ...parts), input };
}

/**
 * One choice of several.
 * @param {string} legend what is chosen
 * @param {Array<[string, string]>} choices value and label
 * @param {string} chosen the value at the start
 * @returns {{element: HTMLElement, value: function(): string}}
 */
export function choice(legend, choices, chosen) {
    made += 1;
    const name = `choice-${made}`;
    const lines = choices.map(([value, label]) =>
        element("label", { class: "choice" },
            element("input", { type: "radio", name, value, checked: value === chosen }), element("span", {}, label)));
    const set = element("fieldset", {}, element("legend", {}, legend), ...lines);
    return { element: set, value: () => set.querySelector("input:checked").value };
}

class Dialog {
    constructor(asked, announce) {
        this.asked = asked;
        this.announce = announce;
        made += 1;
        const id = `dialog-${made}`;
        this.error = element("p", { class: "notice danger", role: "alert", hidden: true });
        this.progress = element("p", { class: "quiet", role: "status" });
        this.confirm = element("button", { type: "submit", class: "primary" }, asked.action);
        this.cancel = button("Cancel", () => this.element.close());
        const said = element("div", { id: `${id}-text` }, ...asked.says.map(text => element("p", {}, text)));
        const form = element("form", { method: "dialog", submit: event => this.submit(event) },
            element("h2", { id: `${id}-title` }, asked.title), said, ...(asked.fields || []),
            this.error, this.progress, element("div", { class: "buttons" }, this.confirm, this.cancel));
        this.element = element("dialog",
            { "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-text`, close: () => this.closed() }, form);
    }

    open() {
        this.before = document.activeElement;
        document.body.append(this.element);
        this.element.showModal();
        (this.element.querySelector("input:checked, input, textarea") || this.confirm).focus();
    }

    closed() {
        this.element.remove();
        this.before?.focus();
        if (document.activeElement === document.body)
            byId("title").focus(); // what was left is gone, or hidden
    }

    async submit(event) {
        event.preventDefault();
        if (this.confirm.getAttribute("aria-disabled"))
            return;
        this.error.hidden = true;
        this.confirm.setAttribute("aria-disabled", "true"); // `disabled` would take the focus away
        this.progress.textContent = "ipfod is at it…";
        try {
            const done = await this.asked.run();
            this.announce(done);
            this.element.close();
        } catch (error) {
            this.fail(refusal(error, this.asked.subject));
        }
    }

    fail(text) {
        this.confirm.removeAttribute("aria-disabled");
        this.progress.textContent = "";
        if (!this.element.open) {
            this.announce({ text, kind: "danger" });
            return;
        }
        this.error.hidden = false;
        this.error.textContent = text;
    }
}

/**
 * Ask, and do it once it is confirmed. Escape and Cancel do nothing; an order that runs already goes on, and its outcome
 * is announced all the same.
 * @param {Object} asked
 * @param {string} asked.title
 * @param {string} asked.subject what the order is about, named first in an error
 * @param {string[]} asked.says what will happen, in paragraphs
 * @param {HTMLElement[]} [asked.fields]
 * @param {string} asked.action what is on the button that confirms
 * @param {function(): Promise<{text: string, kind: string}>} asked.run does it; answers its outcome
 * @param {function({text: string, kind: string})} announce shows an outcome
 */
export function ask(asked, announce) {
    new Dialog(asked, announce).open();
}

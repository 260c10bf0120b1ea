/** Elements of the page: made, filled and put in order. Text is only ever set as text. */

/**
 * Make an element.
 * @param {string} tag its name
 * @param {Object<string, string|boolean|Function>} given attributes; `true` sets one without a value, `false` none, and
 *     a function listens to the event of that name
 * @param {...(Node|string)} children what is in it
 * @returns {HTMLElement}
 */
export function element(tag, given = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
        if (typeof value === "function")
            made.addEventListener(name, value);
        else if (value !== false)
            made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
}

/**
 * Make a button.
 * @param {string} text what is on it
 * @param {Function} onClick
 * @param {string} kind its looks: "primary", "danger" or "secondary"
 * @returns {HTMLButtonElement}
 */
export function button(text, onClick, kind = "secondary") {
    return element("button", { type: "button", class: kind, click: onClick }, text);
}

/**
 * Find an element of index.html.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
    return document.getElementById(id);
}

/**
 * Change a text, if it is another one: what is unchanged keeps its selection and is not read out again.
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
    if (target.textContent !== text)
        target.textContent = text;
}

/**
 * Make a table with a row of headings; its roles are said, because narrow screens lay it out as cards.
 * @param {string} label what a screen reader calls it
 * @param {string[]} headings of the columns
 * @returns {{table: HTMLElement, body: HTMLElement}}
 */
export function table(label, headings) {
    const cells = headings.map(each => element("th", { scope: "col", role: "columnheader" }, each));
    const body = element("tbody", { role: "rowgroup" });
    const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...cells));
    return { table: element("table", { role: "table", "aria-label": label }, head, body), body };
}

/**
 * Make a cell.
 * @param {string} heading of its column, shown beside it on narrow screens
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function cell(heading, ...children) {
    return element("td", { role: "cell", "data-heading": heading }, ...children);
}

/**
 * Have exactly these children, in this order. Those that stay in their place are not touched, so focus stays.
 * @param {Element} parent
 * @param {Element[]} wanted
 */
export function arrange(parent, wanted) {
    const kept = new Set(wanted);
    for (const child of [...parent.children]) {
        if (!kept.has(child))
            child.remove();
    }
    wanted.forEach((child, index) => {
        if (parent.children[index] !== child)
            parent.insertBefore(child, parent.children[index] || null);
    });
}

/**
 * Keeps one view for each of some things, made when it comes and dropped when it goes.
 */
export class Views {
    /**
     * @param {Element} parent where their elements are
     * @param {function(string): {element: Element}} make a view of the thing with a key
     */
    constructor(parent, make) {
        this.parent = parent;
        this.make = make;
        this.views = new Map();
    }

    /**
     * Show these.
     * @param {string[]} keys in the order wanted
     * @returns {Object[]} their views, in that order
     */
    show(keys) {
        const shown = new Map(keys.map(key => [key, this.views.get(key) || this.make(key)]));
        this.views = shown;
        const views = [...shown.values()];
        arrange(this.parent, views.map(view => view.element));
        return views;
    }
}

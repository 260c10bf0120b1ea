/** Light or dark, as Cockpit's own pages: its setting "shell:style" goes before that of the browser. */

const SETTING = "shell:style";
const preference = window.matchMedia("(prefers-color-scheme: dark)");

function apply(style) {
    const wanted = style || localStorage.getItem(SETTING) || "auto";
    const dark = wanted === "dark" || (wanted === "auto" && preference.matches);
    document.documentElement.classList.toggle("dark", dark);
}

/** Follow the setting from now on. */
export function followTheme() {
    preference.addEventListener("change", () => apply());
    window.addEventListener("cockpit-style", event => apply(event.detail?.style));
    window.addEventListener("storage", event => event.key === SETTING && apply());
    apply();
}

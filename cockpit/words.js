/** What the page says: times, lists and errors in words. */

const DENIED = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];
const GONE = [
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
];

/**
 * A moment in the time zone of the browser.
 * @param {number} usec microseconds since 1970-01-01 UTC
 * @returns {string} such as "2026-11-28 04:05:06"
 */
export function moment(usec) {
    const at = new Date(usec / 1000);
    const two = number => String(number).padStart(2, "0");
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":")}`;
}

/**
 * Some names in a sentence.
 * @param {string[]} names
 * @returns {string} such as "a, b and c"
 */
export function list(names) {
    return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/**
 * A number with its noun.
 * @param {number} number
 * @param {string} noun which takes an s
 * @returns {string} such as "1 group" or "2 groups"
 */
export function counted(number, noun) {
    return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * Text with a capital letter at its start and a full stop at its end.
 * @param {string} text
 * @returns {string}
 */
export function sentence(text) {
    const trimmed = text.trim();
    const started = /^[a-z]+ /.test(trimmed) ? trimmed[0].toUpperCase() + trimmed.slice(1) : trimmed;
    return /[.!?…]$/.test(started) ? started : `${started}.`;
}

/**
 * Why an order was not carried out, for its reader.
 * @param {{name?: string, problem?: string, message?: string}} error of Cockpit's D-Bus client
 * @param {string} subject what the order is about, named first
 * @returns {string} one or more sentences
 */
export function refusal(error, subject) {
    if (DENIED.includes(error.name) || error.problem === "access-denied")
        return `${subject}: you may not do this. Turn on administrative access with Cockpit's button “Limited access”, ` +
            "or have a rule of polkit allow it.";
    if (error.problem || GONE.includes(error.name))
        return `${subject}: ipfod did not answer. It was stopped meanwhile, or the connection to the node was lost. ` +
            "Whether the order was carried out shows when it is back.";
    const text = error.message || "the order failed, and nobody said why";
    return sentence(text.startsWith(`${subject}: `) ? text : `${subject}: ${text}`);
}

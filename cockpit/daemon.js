/** ipfod on D-Bus: what it says is kept here, current by its signals; orders go through here. */

/* global cockpit */

const NAME = "org.ipfod.Ipfod1";
const ROOT = "/org/ipfod/Ipfod1";
const PROPERTIES = "org.freedesktop.DBus.Properties";
const OBJECTS = "org.freedesktop.DBus.ObjectManager";
const MANAGER = `${NAME}.Manager`;
// The connection to the node's bus broke, or ipfod is there and did not answer: nobody tells when that is over.
const RETRY_MS = 2000;
const ORDER_TIMEOUT_MS = 600000; // maintenance moves hundreds of groups one by one

function plain(values) {
    return Object.fromEntries(Object.entries(values).map(([name, variant]) => [name, variant.v]));
}

/**
 * What ipfod says, and the way to it. Events: "change" when something shown is another, "transition", "raised" and
 * "cleared" with what it is about in `detail`, "back" when ipfod came and everything was read anew.
 */
export class Daemon extends EventTarget {
    constructor() {
        super();
        this.present = null; // true, false, or null: not known yet
        this.manager = {};
        this.objects = new Map(); // path -> {interface without NAME: {property: value}}
        this.reading = 0;
        this.meanwhile = null; // signals that were heard since the questions were asked, while answers are due
        this.client = null;
    }

    /** Connect, with administrative access if the user has it on; and again when that changes. */
    start() {
        const permission = cockpit.permission({ admin: true });
        let allowed;
        permission.addEventListener("changed", () => {
            if (permission.allowed === null || permission.allowed === allowed)
                return;
            allowed = permission.allowed;
            this.administrative = allowed;
            this.connect();
        });
    }

    connect() {
        const old = this.client;
        this.client = null;
        old?.close();
        const client = cockpit.dbus(NAME, { bus: "system", superuser: "try" });
        this.client = client;
        client.addEventListener("owner", (_, owner) => client === this.client && this.owned(Boolean(owner)));
        client.addEventListener("close", () => {
            if (client !== this.client)
                return;
            this.owned(false);
            setTimeout(() => client === this.client && this.connect(), RETRY_MS);
        });
        client.subscribe({ path_namespace: ROOT }, (path, face, member, args) => {
            if (client === this.client)
                this.heard(path, face, member, args);
        });
    }

    owned(there) {
        if (there) {
            this.read();
            return;
        }
        this.reading += 1;
        this.meanwhile = null;
        this.present = false;
        this.changed();
    }

    /**
     * Read everything anew. The answers are of two moments, and may be handled after later signals: all that were heard
     * meanwhile are put on top of them. One that is older than the answer is followed by the one that is not.
     */
    async read() {
        this.reading += 1;
        const turn = this.reading;
        const client = this.client;
        this.meanwhile = [];
        try {
            const [[manager], [objects]] = await Promise.all([
                client.call(ROOT, PROPERTIES, "GetAll", [MANAGER]),
                client.call(ROOT, OBJECTS, "GetManagedObjects", []),
            ]);
            if (turn !== this.reading)
                return;
            this.manager = plain(manager);
            this.objects = new Map();
            for (const [path, faces] of Object.entries(objects))
                this.add(path, faces);
            this.meanwhile.forEach(signal => this.take(...signal));
            this.meanwhile = null;
            this.present = true;
            this.changed();
            this.dispatchEvent(new CustomEvent("back"));
        } catch (error) {
            if (turn === this.reading) {
                this.present = false;
                this.changed();
                console.warn(`ipfod: ${error.message || error.problem}`);
                setTimeout(() => turn === this.reading && this.read(), RETRY_MS);
            }
        }
    }

    changed() {
        this.dispatchEvent(new CustomEvent("change"));
    }

    add(path, faces) {
        const own = Object.entries(faces).filter(([face]) => face.startsWith(`${NAME}.`));
        const known = this.objects.get(path) || {};
        for (const [face, values] of own)
            known[face.slice(NAME.length + 1)] = plain(values);
        this.objects.set(path, known);
    }

    heard(path, face, member, args) {
        if (face === MANAGER)
            this.told(member, args);
        this.meanwhile?.push([path, face, member, args]);
        this.take(path, face, member, args);
        if (this.present)
            this.changed();
    }

    /** Have a signal's values in what is kept. */
    take(path, face, member, args) {
        if (face === PROPERTIES && member === "PropertiesChanged")
            this.update(path, args[0], plain(args[1]));
        else if (face === OBJECTS && member === "InterfacesAdded")
            this.add(args[0], args[1]);
        else if (face === OBJECTS && member === "InterfacesRemoved")
            this.objects.delete(args[0]);
    }

    update(path, face, values) {
        const target = path === ROOT ? this.manager : this.objects.get(path)?.[face.slice(NAME.length + 1)];
        if (target)
            Object.assign(target, values);
    }

    told(member, args) {
        if (member === "Transition") {
            const [group, old, now, reason, usec] = args;
            const name = this.objects.get(group)?.Group?.Name || group.split("/").at(-1);
            const detail = { group, name, old, new: now, reason, usec };
            this.dispatchEvent(new CustomEvent("transition", { detail }));
        } else if (member === "ProblemRaised" || member === "ProblemCleared") {
            const kind = member === "ProblemRaised" ? "raised" : "cleared";
            this.dispatchEvent(new CustomEvent(kind, { detail: plain(args[0]) }));
        }
    }

    /** @returns {Object[]} what is wrong, newest first */
    problems() {
        return (this.manager.Problems || []).map(plain).reverse();
    }

    /** @returns {Object[]} failovers by name, each with its `path` */
    failovers() {
        const found = [...this.objects].filter(([, faces]) => faces.Failover);
        const all = found.map(([path, faces]) => ({ path, ...faces.Failover }));
        return all.sort((one, other) => one.Name.localeCompare(other.Name));
    }

    /**
     * @param {Object} failover
     * @returns {Object[]} its groups in the order of their numbers, each with its `path` and the addresses `held` here
     */
    groups(failover) {
        const held = this.held;
        return failover.Groups.filter(path => this.objects.get(path)?.Group).map(path => {
            const group = this.objects.get(path).Group;
            return { path, ...group, held: group.VirtualIPs.filter(address => held.has(address)) };
        });
    }

    /** @returns {Set<string>} addresses that the kernel has on this node */
    get held() {
        const vips = [...this.objects.values()].map(faces => faces.VirtualIP).filter(Boolean);
        return new Set(vips.filter(vip => vip.Held).map(vip => vip.Address));
    }

    /**
     * The last changes of state, newest first.
     * @param {number} limit how many at most; 0: all that are kept
     * @returns {Promise<Object[]>}
     */
    async history(limit) {
        const [found] = await this.client.call(ROOT, MANAGER, "GetHistory", [limit]);
        return found.map(plain);
    }

    /**
     * Give an order; ends when it is carried out, and fails with the client's error.
     * @param {string} path of the object, "" for the node
     * @param {string} face of it: "Manager", "Failover" or "Group"
     * @param {string} method
     * @param {Array} args
     * @returns {Promise<Array>} what it answers
     */
    order(path, face, method, args = []) {
        return this.client.call(path || ROOT, `${NAME}.${face}`, method, args, { timeout: ORDER_TIMEOUT_MS });
    }
}

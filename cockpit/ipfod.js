/** The page of ipfod in Cockpit: puts the parts together and keeps them current. */

import { Daemon } from "./daemon.js";
import { arrange, button, byId, setText } from "./dom.js";
import { Groups } from "./groups.js";
import { History } from "./history.js";
import { News } from "./news.js";
import { Orders } from "./orders.js";
import { Problems } from "./problems.js";
import { followTheme } from "./theme.js";
import { counted, moment } from "./words.js";

const TOGETHER_MS = 50; // signals of one burst are shown together

class Page {
    constructor() {
        this.daemon = new Daemon();
        this.news = new News();
        this.orders = new Orders(this.daemon, outcome => this.news.show(outcome));
        this.problems = new Problems(this.daemon);
        this.groups = new Groups(this.daemon, this.orders);
        this.history = new History(this.daemon);
        this.enter = button("Enter maintenance…", () => this.orders.enterMaintenance());
        this.change = button("Change maintenance…", () => this.orders.enterMaintenance());
        this.leave = button("Leave maintenance…", () => this.orders.leaveMaintenance());
        this.due = null;
    }

    start() {
        const on = (kind, act) => this.daemon.addEventListener(kind, event => act(event.detail));
        on("change", () => {
            this.due ||= setTimeout(() => this.update(), TOGETHER_MS);
        });
        on("back", () => this.history.read());
        on("transition", each => {
            this.history.add(each);
            this.news.tell(`${each.name} is ${each.new}.`);
        });
        on("raised", each => this.news.tell(`Problem: ${each.object}: ${each.code}.`));
        on("cleared", each => this.news.tell(`Problem over: ${each.object}: ${each.code}.`));
        this.daemon.start();
    }

    update() {
        this.due = null;
        const present = this.daemon.present;
        if (present === null)
            return;
        if (byId("absent").hidden !== present)
            this.news.tell(present ? "ipfod is there." : "ipfod is not there.");
        byId("absent").hidden = present;
        byId("present").hidden = !present;
        byId("page").setAttribute("aria-busy", "false");
        byId("rights").hidden = this.daemon.administrative;
        arrange(byId("node-orders"), present ? this.nodeOrders() : []);
        if (!present) {
            setText(byId("node"), "");
            return;
        }
        this.updateNode();
        this.problems.update();
        this.groups.update();
    }

    nodeOrders() {
        return this.daemon.manager.Maintenance ? [this.leave, this.change] : [this.enter];
    }

    updateNode() {
        const { NodeName, Version, Maintenance, MaintenanceReason, MaintenanceUntil } = this.daemon.manager;
        setText(byId("title"), `IP failover on ${NodeName}`);
        const groups = this.daemon.failovers().flatMap(each => this.daemon.groups(each));
        const masters = groups.filter(group => group.State === "master").length;
        setText(byId("node"), `ipfod ${Version} · ${counted(groups.length, "group")}, master of ${masters} · ` +
            `${counted(this.daemon.held.size, "virtual IP")} held here`);
        byId("maintenance").hidden = !Maintenance;
        const end = MaintenanceUntil ? `until ${moment(MaintenanceUntil)}` : "until somebody leaves it";
        const why = MaintenanceReason ? ` Reason: ${MaintenanceReason}` : "";
        setText(byId("maintenance-text"), `This node holds no virtual IP, ${end}.${why}`);
    }
}

followTheme();
new Page().start();

// The page's frame: which view is shown, who looks at it, light or dark.
import {button, dialog, field, get, h, halt, icon, ICONS, input, key, live, owns, show, source, start, trouble, watch} from "./ui.js";
import {approvals} from "./approvals.js";
import {chat} from "./chat.js";
import {jobs} from "./jobs.js";
import {logs} from "./logs.js";
import {model} from "./model.js";
import {models} from "./models.js";
import {overview} from "./overview.js";
import {reference} from "./reference.js";
import {requests} from "./requests.js";
import {sessions} from "./sessions.js";
import {users} from "./users.js";

// A view: mount(place, parts of the path, query) -> function that ends it.  `needs`: the permission.
const VIEWS = {
	overview: {label: "Overview", mount: overview},
	models: {label: "Models", mount: (place, parts, query) => (parts.length ? model : models)(place, parts, query)},
	chat: {label: "Chat", mount: chat},
	requests: {label: "Requests", mount: requests},
	logs: {label: "Logs", mount: logs, needs: "superuser"},
	approvals: {label: "Approvals", mount: approvals},
	users: {label: "Users", mount: users, needs: "superuser"},
	sessions: {label: "Sessions", mount: sessions},
	jobs: {label: "Jobs", mount: jobs},
	reference: {label: "API", mount: reference}
};

const at = id => document.getElementById(id);
let end = () => {},
	current = "",
	refused = null, // why the daemon tells nothing to who looks at it
	asked = 0; // how often it was asked who that is: only the last answer counts

function place() {
	const [where, search] = location.hash.replace(/^#\/?/, "").split("?");
	const parts = where.split("/").map(part => {
		try {
			return decodeURIComponent(part);
		} catch {
			return part;
		}
	});
	return {
		name: Object.hasOwn(VIEWS, parts[0]) ? parts[0] : location.pathname.endsWith("/docs") ? "reference" : "overview",
		parts: parts.slice(1).filter(Boolean),
		query: new URLSearchParams(search)
	};
}

function go() {
	const {name, parts, query} = place();
	end();
	const main = at("main");
	main.replaceChildren();
	main.className = `view-${name}`;
	const moved = current !== "" && current !== location.hash;
	current = location.hash || "#/overview";
	document.title = `${VIEWS[name].label} – runnerd`;
	end = (refused ? refusal(main) : VIEWS[name].mount(main, parts, query)) || (() => {});
	navigation();
	if (moved) {
		scrollTo(0, 0);
		main.querySelector("h1")?.focus({preventScroll: true});
	}
}

function navigation() {
	const {name} = place();
	const may = new Set(live.me?.may || []),
		waiting = may.has("superuser") && pending.found?.length;
	const open = ([, view]) => !view.needs || may.has("superuser") || may.has(view.needs);
	show(
		at("nav"),
		h(
			"ul",
			Object.entries(VIEWS)
				.filter(open)
				.map(([each, view]) =>
					h(
						"li",
						{key: each},
						h(
							"a",
							{link: each, "aria-current": each === name ? "page" : undefined},
							icon(ICONS[each]),
							h("span", view.label),
							each === "approvals" && waiting > 0 && h("span.count", {label: `${waiting} pending`}, waiting)
						)
					)
				)
		)
	);
}

const SAID = {live: "", connecting: "Connecting", broken: "No connection; trying again"};

// How many requests to the owner wait; it stands in the menu.
const pending = source(
	async () => (owns() ? get("runnerd/approvals?state=pending&limit=100") : null),
	() => navigation()
);

function status(kinds) {
	if (!live.me && !refused && live.overview && kinds.has("all")) begin(false);
	if (kinds.has("approval") || kinds.has("all")) pending.look();
	const said = SAID[live.connection] ?? "";
	if (at("connection").textContent !== said) at("connection").textContent = said;
	navigation();
}

// Light or dark: as the system has it, until somebody says otherwise.

const THEME = "runnerd-theme";

function themed() {
	const chosen = localStorage.getItem(THEME);
	if (chosen) document.documentElement.dataset.theme = chosen;
	else delete document.documentElement.dataset.theme;
}

function switchTheme() {
	const dark =
		(document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
	localStorage.setItem(THEME, dark ? "light" : "dark");
	themed();
}

// Who looks at it

// Whether it is still asked for, who looks is known then, or `refused` tells why not.
async function identify() {
	const mine = ++asked;
	let me = null,
		failure = null;
	try {
		me = await get("runnerd/me");
	} catch (error) {
		failure = error;
	}
	if (mine !== asked) return false;
	live.me = me;
	if (failure) live.error = failure;
	refused = failure?.status === 401 ? failure.message : null;
	account();
	navigation();
	return true;
}

function account() {
	const me = live.me;
	const name = me ? (me.kind === "owner" ? "Owner" : me.name) : "Key";
	show(at("account"), icon(ICONS.key), h("span.account-name", name));
	at("account").setAttribute("aria-label", me ? `You are ${me.kind === "owner" ? "an owner" : me.name}. Use a key` : "Use a key");
}

async function askForKey(reason) {
	const box = input({type: "password", name: "key", value: key.get(), autofocus: true});
	const done = await dialog("Use a key", close => [
		reason && trouble(reason),
		h(
			"p.dialog-text",
			live.me ? `You are ${live.me.name}, as the daemon knows it from the connection or your key.` : "The daemon does not know you.",
			" A key is kept in this tab until it is closed, and sent to this daemon only."
		),
		field("Key", box, "The owner makes one with: runnerd user add NAME"),
		h(
			"div.actions.end",
			key.get() &&
				button("Forget the key", () => {
					key.set("");
					close(true);
				}),
			button("Cancel", () => close(false)),
			button(
				"Use it",
				() => {
					key.set(box.value.trim());
					close(true);
				},
				{kind: "primary", type: "submit"}
			)
		)
	]);
	if (done) begin();
}

function refusal(main) {
	show(
		main,
		h(
			"div.empty",
			h("p.empty-title", "This daemon asks who you are"),
			h("p", refused),
			button("Enter a key", () => askForKey(), {kind: "primary"})
		)
	);
}

// Find out who looks, and show what they may see; `anew`: as somebody else, perhaps.
async function begin(anew = true) {
	if (!(await identify())) return;
	if (refused) halt();
	else if (anew) start();
	else return;
	go();
}

// The menu of narrow screens

function closeMenu() {
	document.body.classList.remove("menu-open");
	at("menu").setAttribute("aria-expanded", "false");
}

at("menu").append(icon(ICONS.menu));
at("theme").append(icon(ICONS.theme));
at("menu").addEventListener("click", () => {
	const open = document.body.classList.toggle("menu-open");
	at("menu").setAttribute("aria-expanded", String(open));
	if (open) at("nav").querySelector("a")?.focus();
});
document.addEventListener("keydown", event => {
	if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
		closeMenu();
		at("menu").focus();
	}
});
at("theme").addEventListener("click", switchTheme);
at("account").addEventListener("click", () => askForKey());
document.querySelector(".skip").addEventListener("click", event => {
	event.preventDefault();
	at("main").focus();
});
at("nav").addEventListener("click", closeMenu);
addEventListener("hashchange", go);
watch(status);
themed();
account();
navigation();
begin();

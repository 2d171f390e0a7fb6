// The page's frame: which view is shown, who looks at it, light or dark.
import {
	button,
	dialog,
	empty,
	ending,
	field,
	get,
	h,
	halt,
	icon,
	ICONS,
	input,
	key,
	live,
	owns,
	SAID,
	show,
	source,
	start,
	trouble,
	watch
} from "./ui.js";

// The views: modules, fetched when they are shown first; each exports
// NAME(place, parts of the path, query) -> function that ends it.
const VIEWS = ["overview", "models", "chat", "requests", "logs", "approvals", "users", "sessions", "jobs", "reference"];
const OWNERS = ["logs", "users"];
const labelOf = name => (name === "reference" ? "API" : name[0].toUpperCase() + name.slice(1));

const at = id => document.getElementById(id),
	root = document.documentElement,
	menu = at("menu");
let end = () => {},
	current = "",
	refused = null, // why the daemon tells nothing to who looks at it
	asked = 0, // how often that was asked: only the last response counts
	identity = Promise.resolve(), // until who looks is known
	gone = 0; // how often a view was gone to: the last is shown

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
		name: VIEWS.includes(parts[0]) ? parts[0] : location.pathname.endsWith("/docs") ? "reference" : "overview",
		parts: parts.slice(1).filter(Boolean),
		query: new URLSearchParams(search)
	};
}

async function go() {
	const {name, parts, query} = place(),
		mine = ++gone;
	end();
	end = () => {};
	const main = at("main");
	main.replaceChildren();
	main.className = `view-${name}`;
	const moved = current !== "" && current !== location.hash;
	current = location.hash || "#/overview";
	document.title = `${labelOf(name)} – runnerd`;
	navigation();
	// sooner, it would be drawn anew
	const [view] = await Promise.all([import(`./${name}.js`).catch(() => null), identity]);
	if (mine !== gone) return;
	if (refused) return refusal(main);
	if (view) end = view[name](main, parts, query);
	else show(main, trouble("A part of the page is missing: reload it. The daemon may be another version now."));
	if (moved) {
		scrollTo(0, 0);
		main.querySelector("h1")?.focus({preventScroll: true});
	}
}

function navigation() {
	const {name} = place();
	const waiting = owns() && pending.found?.length;
	show(
		at("nav"),
		h(
			"ul",
			VIEWS.filter(each => owns() || !OWNERS.includes(each)).map(each =>
				h(
					"li",
					{key: each},
					h(
						"a",
						{link: each, "aria-current": each === name ? "page" : undefined},
						icon(ICONS[each]),
						h("span", labelOf(each)),
						each === "approvals" && waiting > 0 && h("span.count", {label: `${waiting} pending`}, waiting)
					)
				)
			)
		)
	);
}

// How many requests to the owner wait: in the menu
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

// Light or dark: as the system has it, until somebody chooses.

const THEME = "runnerd-theme";

function themed() {
	const chosen = localStorage.getItem(THEME);
	if (chosen) root.dataset.theme = chosen;
	else delete root.dataset.theme;
}

function switchTheme() {
	const dark = (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
	localStorage.setItem(THEME, dark ? "light" : "dark");
	themed();
}

// Whether it is still asked for, who looks is known then, or `refused` tells why not.
async function identify() {
	const mine = ++asked;
	let failure = null;
	const me = await get("runnerd/me").catch(error => (failure = error) && null);
	if (mine !== asked) return false;
	live.me = me;
	live.error = failure || live.error;
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

async function askForKey() {
	const box = input({type: "password", name: "key", value: key.get(), autofocus: true});
	const wanted = await dialog("Use a key", close => [
		h(
			"p.dialog-text",
			live.me ? `You are ${live.me.name}, as the daemon knows it from the connection or your key.` : "The daemon does not know you.",
			" A key is kept in this tab until it is closed, and sent to this daemon only."
		),
		field("Key", box, "The owner makes one with: runnerd user add NAME"),
		ending(
			key.get() && button("Forget the key", () => close("")),
			button("Cancel", () => close()),
			button("Use it", () => close(box.value.trim()), {kind: "primary", type: "submit"})
		)
	]);
	if (wanted === undefined) return;
	key.set(wanted);
	begin();
}

const refusal = main => show(main, empty("This daemon asks who you are", refused, " ", button("Enter a key", askForKey, "primary")));

// Find out who looks, and show what they may see; `anew`: as somebody else, perhaps.
async function begin(anew = true) {
	if (!(await (identity = identify()))) return;
	if (refused) halt();
	else if (anew) start();
	else return;
	go();
}

// The menu of narrow screens

function closeMenu() {
	document.body.classList.remove("menu-open");
	menu.setAttribute("aria-expanded", "false");
}

menu.append(icon(ICONS.menu));
at("theme").append(icon(ICONS.theme));
menu.addEventListener("click", () => {
	const open = document.body.classList.toggle("menu-open");
	menu.setAttribute("aria-expanded", String(open));
	if (open) at("nav").querySelector("a")?.focus();
});
document.addEventListener("keydown", event => {
	if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
		closeMenu();
		menu.focus();
	}
});
at("theme").addEventListener("click", switchTheme);
at("account").addEventListener("click", askForKey);
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

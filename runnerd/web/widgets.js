// What all views are made of: buttons, tables, dialogs, messages.
import {h, icon} from "./dom.js";
import {bytes, clock, number, seconds} from "./format.js";

export const ICONS = {
	overview: "M2 9h5V2H2zM9 14h5V7H9zM2 14h5v-3H2zM9 5h5V2H9z",
	models: "M8 1.5 14 4.5v7L8 14.5 2 11.5v-7zM2 4.5l6 3 6-3M8 7.5v7",
	chat: "M2 3h12v8H7l-3 3v-3H2z",
	requests: "M2 5h11M10 2l3 3-3 3M14 11H3M6 8l-3 3 3 3",
	logs: "M3 3h10M3 6.3h7M3 9.6h10M3 13h6",
	approvals: "M8 1.5 13.5 4v4c0 3.5-2.4 5.6-5.5 6.5C4.9 13.6 2.5 11.5 2.5 8V4zM5.5 8l2 2 3.2-3.5",
	users: "M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14c.5-3 2.5-4.5 5.5-4.5s5 1.5 5.5 4.5",
	sessions: "M2 3h9v6H6l-2 2V9H2zM13 6h1v6h-2v2l-2-2H7",
	jobs: "M2 5h12v8H2zM6 5V3h4v2M2 8.5h12",
	reference: "M5.5 4 2 8l3.5 4M10.5 4 14 8l-3.5 4",
	theme: "M8 3.5a4.5 4.5 0 1 0 0 9zM8 3.5a4.5 4.5 0 1 1 0 9",
	menu: "M2 4h12M2 8h12M2 12h12",
	close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
	key: "M10 2a4 4 0 1 1-3.3 6.3L2 13v1h2l1-1v-1h1l1.5-1.5"
};

// `more`: what kind it is, or its options.
export function button(label, run, more = "") {
	const {kind = "", disabled = false, name, pressed, type = "button", picture} = typeof more === "string" ? {kind: more} : more;
	const click = event => {
		event.preventDefault();
		return run(event);
	};
	return h(
		"button",
		{
			type,
			class: `button ${kind}`,
			disabled,
			label: name,
			"aria-pressed": pressed === undefined ? undefined : String(pressed),
			on: run ? {click} : {}
		},
		picture && icon(ICONS[picture]),
		label && h("span", label)
	);
}

// A button that has the daemon do something with `what` and then tells that it is `done`.  `sure`: what
// is said before, as a sentence or as `confirm` takes it.
export const act = (label, what, work, done, {sure, ...options} = {}) => {
	const name = `${label} ${what}`,
		asks = typeof sure === "string" ? [`${name}?`, sure, label] : sure;
	const run = async ({currentTarget}) => {
		if (!asks || (await confirm(...asks))) await doing({currentTarget}, work, done);
	};
	return small(label, what, run, options);
};

export const small = (label, what, run, more) => button(label, run, {kind: "small", name: `${label} ${what}`, ...more});

export const cross = (name, run, more) => button("", run, {kind: "quiet small", picture: "close", name, ...more});

export const chip = (text, kind = "") => h("span", {class: `chip ${kind}`}, text);

export const empty = (title, ...more) => h("div.empty", h("p.empty-title", title), more.length > 0 && h("p", ...more));

export const trouble = error => h("div.notice.bad", {role: "alert"}, error.message || String(error));

export const heading = (title, ...actions) => h("header.view-head", h("h1", {tabindex: "-1"}, title), h("div.actions", ...actions));

export const section = (title, ...content) => h("section.section", h("h2", title), ...content);

export const facts = (pairs, kind = "facts") =>
	h(
		`dl.${kind}`,
		pairs
			.filter(([, value]) => value !== null && value !== undefined && value !== "")
			.map(([name, value]) => h("div", h("dt", name), h("dd", value)))
	);

// What a member of the daemon's response is to people, by its name.
function said(name, value) {
	if (value instanceof Node) return value;
	if (typeof value === "boolean") return value ? "yes" : "no";
	if (value === null || value === "" || (typeof value === "object" && !Object.keys(value).length)) return null;
	if (typeof value === "object")
		return Array.isArray(value) && value.every(each => typeof each === "string") ? value.join(", ") : h("code", JSON.stringify(value));
	if (name.endsWith("_seconds")) return seconds(value);
	if (name.startsWith("bytes") || name.endsWith("_bytes")) return bytes(value);
	if (/(^(created|started|ended|deadline|expires|last_used|timestamp)|_at)$/.test(name)) return clock(value);
	if (typeof value !== "number") return value;
	return number(value) + (/context|longest/.test(name) ? " tokens" : "");
}

export const words = name =>
	name[0].toUpperCase() +
	name
		.slice(1)
		.replace(/_(seconds|bytes)$/, "")
		.replaceAll("_", " ");

// All that the daemon says of a thing, but for what is `shown` elsewhere: new members come by themselves.
export const record = (found, ...shown) =>
	facts(
		Object.entries(found)
			.filter(([name]) => !shown.includes(name))
			.map(([name, value]) => [words(name), said(name, value)])
	);

// Columns of a table: of few words, of names (which may be long), of quantities, and the last one with
// what can be done with each row.  `cell` is a function of a row or a member's name; `form` writes it.
export const column = (title, cell, form = value => value, kind = "") => ({
	title,
	kind,
	cell: row => (typeof cell === "string" ? form(row[cell]) : cell(row))
});
export const wide = (title, cell, form) => column(title, cell, form, "wide");
export const amount = (title, cell, form = number) => column(title, cell, form, "number");
const doings = found => found.length > 0 && h("div.actions", found);
export const actionsOf = cell => column("Actions", row => doings(cell(row).filter(Boolean)), null, "row-actions");

// A table; on a phone each row is a card.
export const table = (caption, columns, rows, keyOf = row => row.id) =>
	h(
		"div.table",
		h(
			"table",
			{label: caption},
			h(
				"thead",
				h(
					"tr",
					columns.map(({title, kind}) => h("th", {scope: "col", class: kind}, title))
				)
			),
			h(
				"tbody",
				rows.map(row =>
					h(
						"tr",
						{key: keyOf(row)},
						columns.map(({title, kind, cell}) => h("td", {class: kind, "data-label": title}, cell(row)))
					)
				)
			)
		)
	);

// The same of members that need no more than their names: for people, for what can be done.
export const rows = (caption, found, names, keyOf, ...more) =>
	table(
		caption,
		[
			...names.map(name =>
				column(words(name), row => said(name, row[name]) ?? "–", null, typeof found[0]?.[name] === "number" ? "number" : "wide")
			),
			...more
		],
		found,
		keyOf
	);

// How far something is; without a `total` that is not known.
export const progress = (key, name, said, {current, total}, ...actions) =>
	h(
		"div.progress-row",
		{key},
		h("div", h("span.name", name), sub(said)),
		actions,
		h("progress", {max: total || 1, value: total ? current : undefined, label: `Progress of ${name}`})
	);

let fields = 0;

export const sub = (...content) => h("span.sub", ...content);

export const muted = (...content) => h("p.muted", ...content);

// What stands where something is still on its way, or could not be had.
export const missing = error => (error ? trouble(error) : muted("Loading…"));

// A labelled field; `help` is read with it.
export function field(label, control, help) {
	const id = control.id || `field-${(fields += 1)}`;
	control.id = id;
	if (help) control.setAttribute("aria-describedby", `${id}-help`);
	return h("div.field", h("label", {for: id}, label), control, help && h("p.help", {id: `${id}-help`}, help));
}

export const input = props => h("input", {type: "text", autocomplete: "off", spellcheck: "false", ...props});

export const grid = (...fields) => h("div.form-grid", fields);

// Lines of text that no prose is: JSON, patterns.
export const area = props => h("textarea.mono", {rows: 2, spellcheck: "false", ...props});
export const linesOf = text =>
	text
		.split("\n")
		.map(line => line.trim())
		.filter(Boolean);

export function parsed(text, what) {
	try {
		return JSON.parse(text);
	} catch (failure) {
		throw new Error(`${what} is no JSON: ${failure.message}`);
	}
}

// A field in which a view is searched; `run` gets what was typed, in small letters.
export const filter = (label, run) =>
	input({
		type: "search",
		class: "search",
		placeholder: label.replace(/ by .*/, ""),
		label,
		on: {input: event => run(event.target.value.toLowerCase())}
	});

// A form; `send` gets its button's event, as `doing` takes it.
export const form = (kind, send, ...content) =>
	h(
		kind,
		{
			on: {
				submit: event => {
					event.preventDefault();
					send({currentTarget: event.target.querySelector("[type=submit]")});
				}
			}
		},
		...content
	);

export const check = (label, props) => h("label.check", h("input", {type: "checkbox", ...props}), label);

export const fold = (title, ...content) => h("details", h("summary", title), ...content);

// The same with what `now`, a source, is asked for each time that it is opened.  What the daemon has no such
// thing for (400) is no trouble.
export const unfolding = (title, now, content) =>
	h(
		"details",
		{on: {toggle: event => event.currentTarget.open && now.look()}},
		h("summary", title),
		now.error && (now.error.status === 400 ? muted(now.error.message) : trouble(now.error)),
		now.found && !now.error && h("div.form", content(now.found))
	);

export const upload = props => h("input", {type: "file", ...props});

export function fileOf({files}) {
	if (!files[0]) throw new Error("Choose a file.");
	return files[0];
}

export const changed = (before, now) =>
	Object.fromEntries(Object.entries(now).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));

// A place to write in that sends what is written with Enter; Shift-Enter begins a line.
export const prompting = (label, placeholder, send, on) =>
	h("textarea", {
		rows: 2,
		placeholder,
		label,
		on: {
			keydown: event => {
				if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
				event.preventDefault();
				send();
			},
			...on
		}
	});

export const ending = (...buttons) => h("div.actions.end", buttons);

// Text as it was written, for instance JSON.
export const block = value =>
	h("pre.panel.copyable-text", {tabindex: "0"}, typeof value === "string" ? value : JSON.stringify(value, null, 2));

export const submit = (label, more) => button(label, null, {kind: "primary", type: "submit", ...more});

// A line with fields and a button that has `run` done.
export const line = (run, label, ...fields) => form("form.inline-form", event => doing(event, run), ...fields, submit(label, {kind: ""}));

// A choice of [value, label] or of values; `change` gets the one that was taken.
export function choice(options, value, change, props) {
	const select = h(
		"select",
		{on: change ? {change: event => change(event.target.value)} : {}, ...props},
		options.map(each => {
			const [name, label] = Array.isArray(each) ? each : [each, each];
			return h("option", {value: name, selected: name === value}, label);
		})
	);
	select.value = value ?? "";
	return select;
}

// A dialog that is there until it is closed; resolves to what `close` was called with.  Messages are in it
// meanwhile: what is beside it is covered, and not read out.
export function dialog(title, content) {
	return new Promise(resolve => {
		const box = h("dialog", {label: title, class: "dialog"}),
			messages = document.getElementById("messages");
		const close = value => {
			box.close();
			(document.querySelector("dialog:modal") || document.body).append(messages);
			box.remove();
			resolve(value);
			return value;
		};
		box.append(h("form", {method: "dialog", on: {submit: event => event.preventDefault()}}, h("h2", title), ...content(close)), messages);
		box.addEventListener("cancel", () => close(undefined));
		document.body.append(box);
		box.showModal();
	});
}

// A dialog that tells something, with a button to close it.
export const note = (title, label, ...content) => dialog(title, close => [...content, ending(button(label, () => close(), "primary"))]);

// A dialog with fields: what `send()` gives, which is called by the button `label`, or undefined; `look` is
// called where something was sent.
export async function fill(title, fields, label, send, {done, look} = {}) {
	const made = await dialog(title, close => [
		...fields,
		ending(
			button("Cancel", () => close()),
			button(label, event => doing(event, async () => close(await send()), done), {kind: "primary", type: "submit"})
		)
	]);
	if (made) look?.();
	return made;
}

export function confirm(title, text, label, kind = "danger") {
	return dialog(title, close => [
		h("p.dialog-text", text),
		ending(
			button("Cancel", () => close(false)),
			button(label, () => close(true), kind)
		)
	]);
}

// A message that goes by itself, and is read out.
export function tell(text, kind = "") {
	const place = document.getElementById("messages");
	const message = h(
		"div",
		{class: `message ${kind}`},
		h("span", text),
		cross("Dismiss", () => message.remove())
	);
	place.append(message);
	while (place.children.length > 4) place.firstChild.remove();
	setTimeout(() => message.remove(), kind === "bad" ? 20000 : 6000);
}

// Do something that somebody asked for, once at a time; failures are told in the daemon's words.
export async function doing(event, work, done) {
	const control = event?.currentTarget;
	if (control) {
		control.disabled = control.busy = true;
		control.setAttribute("aria-busy", "true");
	}
	try {
		const result = await work();
		if (done) tell(typeof done === "function" ? done(result) : done, "good");
		return result;
	} catch (error) {
		if (error.name !== "AbortError") tell(error.message, "bad");
		return undefined;
	} finally {
		if (control) {
			control.disabled = control.busy = false;
			control.removeAttribute("aria-busy");
		}
	}
}

export function copyable(text, name) {
	const code = h("code.copyable-text", {tabindex: "0"}, text);
	return h(
		"div.copyable",
		code,
		button(
			"Copy",
			async () => {
				try {
					await navigator.clipboard.writeText(text);
					tell(`${name} copied`, "good");
				} catch {
					getSelection().selectAllChildren(code);
					tell("Selected: copy it with Ctrl-C");
				}
			},
			{kind: "small", name: `Copy ${name}`}
		)
	);
}

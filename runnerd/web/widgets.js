// What all views are made of: buttons, tables, dialogs, messages.
import {h, icon, show} from "./dom.js";

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

export function button(
	label,
	run,
	{kind = "", busy = false, disabled = false, name, pressed, type = "button", picture} = {}
) {
	return h(
		"button",
		{
			type,
			class: `button ${kind}`,
			disabled: disabled || busy,
			"aria-label": name,
			"aria-pressed": pressed === undefined ? undefined : String(pressed),
			"aria-busy": busy ? "true" : undefined,
			on: run
				? {
						click: event => {
							event.preventDefault();
							return run(event);
						}
					}
				: {}
		},
		picture && icon(ICONS[picture]),
		label && h("span", {}, label)
	);
}

export const chip = (text, kind = "") => h("span", {class: `chip ${kind}`}, text);

export const empty = (title, ...more) =>
	h("div", {class: "empty"}, h("p", {class: "empty-title"}, title), more.length > 0 && h("p", {}, ...more));

export const trouble = error => h("div", {class: "notice bad", role: "alert"}, error.message || String(error));

export const heading = (title, ...actions) =>
	h("header", {class: "view-head"}, h("h1", {tabindex: "-1"}, title), h("div", {class: "actions"}, ...actions));

export const section = (title, ...content) => h("section", {class: "section"}, h("h2", {}, title), ...content);

export const facts = pairs =>
	h(
		"dl",
		{class: "facts"},
		pairs
			.filter(([, value]) => value !== null && value !== undefined && value !== "")
			.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))
	);

// A table.  columns: [{title, cell(row), number, wide}]; on a phone each row is a card.
export function table(caption, columns, rows, keyOf) {
	return h(
		"div",
		{class: "table"},
		h(
			"table",
			{"aria-label": caption},
			h(
				"thead",
				{},
				h(
					"tr",
					{},
					columns.map(column =>
						h("th", {scope: "col", class: column.number ? "number" : column.actions ? "row-actions" : ""}, column.title)
					)
				)
			),
			h(
				"tbody",
				{},
				rows.map(row =>
					h(
						"tr",
						{key: keyOf(row)},
						columns.map(column =>
							h(
								"td",
								{
									class: `${column.number ? "number" : ""} ${column.wide ? "wide" : ""} ${column.actions ? "row-actions" : ""}`,
									"data-label": column.title
								},
								column.cell(row)
							)
						)
					)
				)
			)
		)
	);
}

// A table's last column: what can be done with each row.
export const actionsOf = cell => ({
	title: "Actions",
	actions: true,
	cell: row => {
		const found = cell(row);
		return found && h("div", {class: "actions"}, found);
	}
});

// The end of a dialog: Cancel, and what it is for.
export const footer = (close, label, work, done) =>
	h(
		"div",
		{class: "actions end"},
		button("Cancel", () => close()),
		button(label, event => doing(event, work, done), {kind: "primary", type: "submit"})
	);

let fields = 0;

export const sub = (...content) => h("span", {class: "sub"}, ...content);

export const muted = (...content) => h("p", {class: "muted"}, ...content);

// What stands where something is still on its way, or could not be had.
export const missing = error => (error ? trouble(error) : muted("Loading…"));

// A labelled field; `help` is read with it.
export function field(label, control, help) {
	const id = control.id || `field-${(fields += 1)}`;
	control.id = id;
	if (help) control.setAttribute("aria-describedby", `${id}-help`);
	return h(
		"div",
		{class: "field"},
		h("label", {for: id}, label),
		control,
		help && h("p", {class: "help", id: `${id}-help`}, help)
	);
}

export const input = props => h("input", {type: "text", autocomplete: "off", spellcheck: "false", ...props});

export function choice(options, value, props = {}) {
	const select = h(
		"select",
		props,
		options.map(each => {
			const [name, label] = Array.isArray(each) ? each : [each, each];
			return h("option", {value: name, selected: name === value}, label);
		})
	);
	select.value = value ?? "";
	return select;
}

// A dialog that is there until it is closed; resolves to what `close` was called with.
export function dialog(title, content) {
	return new Promise(resolve => {
		const box = h("dialog", {"aria-label": title, class: "dialog"});
		const close = value => {
			box.close();
			box.remove();
			resolve(value);
		};
		box.append(
			h(
				"form",
				{method: "dialog", on: {submit: event => event.preventDefault()}},
				h("h2", {}, title),
				...content(close)
			)
		);
		box.addEventListener("cancel", () => close(undefined));
		document.body.append(box);
		box.showModal();
	});
}

export function confirm(title, text, label, kind = "danger") {
	return dialog(title, close => [
		h("p", {class: "dialog-text"}, text),
		h(
			"div",
			{class: "actions end"},
			button("Cancel", () => close(false)),
			button(label, () => close(true), {kind})
		)
	]);
}

// A message that goes by itself, and is read out.
export function tell(text, kind = "") {
	const place = document.getElementById("messages");
	const message = h(
		"div",
		{class: `message ${kind}`},
		h("span", {}, text),
		button("", () => message.remove(), {kind: "quiet", name: "Dismiss", picture: "close"})
	);
	place.append(message);
	while (place.children.length > 4) place.firstChild.remove();
	setTimeout(() => message.remove(), kind === "bad" ? 20000 : 6000);
}

// Do something that somebody asked for, once at a time; failures are told in the daemon's words.
export async function doing(event, work, done) {
	const control = event?.currentTarget;
	if (control) {
		control.disabled = true;
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
			control.disabled = false;
			control.removeAttribute("aria-busy");
		}
	}
}

export function copyable(text, name) {
	const code = h("code", {class: "copyable-text", tabindex: "0"}, text);
	return h(
		"div",
		{class: "copyable"},
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

export {show};

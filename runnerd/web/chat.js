// A chat with one model, or with several side by side that are asked the same.
import {get} from "./api.js";
import {h, show} from "./dom.js";
import {curl, python} from "./chat_code.js";
import {Column, picture} from "./chat_column.js";
import {button, copyable, empty, field, heading, input, tell, trouble} from "./widgets.js";

const MOST_COLUMNS = 3; // a browser has six connections to a host
const MOST_IMAGE = 20 * 2 ** 20;
const NUMBERS = [
	["temperature", "Temperature", "0 to 2; the model’s own default without one"],
	["top_p", "Top p"],
	["top_k", "Top k"],
	["max_tokens", "Most tokens"],
	["seed", "Seed"]
];

// The conversation stays while other views are looked at.
let columns = [],
	names = [],
	images = [],
	error = null,
	redraw = () => {};

const system = h("textarea", {rows: 2, placeholder: "none", on: {input: () => redraw()}});
const numbers = NUMBERS.map(([name, label, help]) => [
	name,
	label,
	help,
	input({type: "number", step: "any", placeholder: "default", on: {input: () => redraw()}})
]);
const others = h("textarea", {
	rows: 2,
	class: "mono",
	spellcheck: "false",
	placeholder: '{"stop": ["###"]}',
	on: {input: () => redraw()}
});
const tools = h("textarea", {
	rows: 4,
	class: "mono",
	spellcheck: "false",
	placeholder: '[{"type": "function", "function": {"name": "weather"}}]',
	on: {input: () => redraw()}
});
const prompt = h("textarea", {
	rows: 2,
	placeholder: "Ask something; Enter sends, Shift-Enter begins a line",
	"aria-label": "Message",
	on: {
		keydown: event => {
			if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
				event.preventDefault();
				send();
			}
		},
		input: () => redraw(),
		paste: event => takeFiles(event.clipboardData?.files)
	}
});
const file = h("input", {
	type: "file",
	accept: "image/png,image/jpeg,image/webp,image/gif",
	multiple: true,
	class: "visually-hidden",
	tabindex: "-1",
	"aria-hidden": "true",
	on: {
		change: () => {
			takeFiles(file.files);
			file.value = "";
		}
	}
});

export function chat(place, parts, query) {
	const draw = (redraw = () => show(place, content()));
	(async () => {
		try {
			const models = await get("models");
			names = models
				.filter(each => (each.runnerd?.capabilities || []).some(can => /completion|chat/.test(can)))
				.flatMap(each => (each.tags.length ? [each.tags[0]] : [each.id]));
			error = null;
			const wanted = query.get("model");
			if (wanted && !columns.some(each => each.model === wanted)) {
				if (columns.length === 1 && !columns[0].turns.length) columns = [];
				add(wanted);
			}
			if (!columns.length && names.length) add(names[0]);
			for (const each of columns) each.choose(names);
		} catch (failure) {
			error = failure;
		}
		draw();
	})();
	draw();
	return () => {
		redraw = () => {};
	};
}

function add(model) {
	if (columns.length >= MOST_COLUMNS) columns.pop().stop();
	columns.push(
		new Column(model, {
			names,
			changed: () => redraw(),
			removed: column => {
				column.stop();
				columns = columns.filter(each => each !== column);
				redraw();
			}
		})
	);
}

const busy = () => columns.some(each => each.busy);

function content() {
	return h(
		"div",
		{class: "chat"},
		heading(
			"Chat",
			columns.length < MOST_COLUMNS &&
				names.length > 0 &&
				button("Add a model", () => {
					add(names.find(name => !columns.some(each => each.model === name)) || names[0]);
					redraw();
				}),
			button(
				"New chat",
				() => {
					for (const each of columns) each.clear();
					redraw();
				},
				{disabled: !columns.some(each => each.turns.length)}
			)
		),
		error && trouble(error),
		columns.length
			? h(
					"div",
					{class: "chat-columns"},
					columns.map(each => each.element)
				)
			: !error &&
					empty("No model to talk to", "Get one under ", h("a", {link: "models"}, "Models"), ", or add one here."),
		h(
			"form",
			{
				class: "composer",
				on: {
					submit: event => {
						event.preventDefault();
						send();
					}
				}
			},
			images.length
				? h(
						"div",
						{class: "thumbs"},
						images.map((url, at) =>
							h(
								"span",
								{class: "thumb", key: at + url.length},
								picture(url),
								button(
									"",
									() => {
										images.splice(at, 1);
										redraw();
									},
									{kind: "quiet small", name: `Remove image ${at + 1}`, picture: "close"}
								)
							)
						)
					)
				: null,
			h(
				"div",
				{class: "composer-row"},
				prompt,
				h(
					"div",
					{class: "actions"},
					button("Images", () => file.click(), {name: "Add images"}),
					file,
					busy()
						? button(
								"Stop",
								() => {
									for (const each of columns) each.stop();
								},
								{kind: "danger"}
							)
						: button("Send", null, {kind: "primary", type: "submit", disabled: !columns.length})
				)
			)
		),
		h(
			"details",
			{class: "panel"},
			h("summary", {}, "System prompt, parameters, tools"),
			h(
				"div",
				{class: "form"},
				field("System prompt", system),
				h(
					"div",
					{class: "form-grid"},
					numbers.map(([, label, help, control]) => field(label, control, help))
				),
				field("Other parameters, as JSON", others, "Members of the request, such as stop, min_p or response_format."),
				field("Tools, as JSON", tools, "OpenAI’s form; a call of the model is shown, and not carried out.")
			)
		),
		columns.length ? h("details", {class: "panel"}, h("summary", {}, "The same with curl and Python"), code()) : null
	);
}

// What is asked beside the messages.  Raises an Error in words for what is no JSON.
function asked() {
	const parameters = {};
	for (const [name, , , control] of numbers) if (control.value !== "") parameters[name] = Number(control.value);
	const object = parsed(
		others.value,
		"Other parameters",
		value => value && typeof value === "object" && !Array.isArray(value),
		"an object"
	);
	const list = parsed(tools.value, "Tools", Array.isArray, "a list");
	return {system: system.value.trim(), parameters: {...parameters, ...object, ...(list?.length ? {tools: list} : {})}};
}

function parsed(text, what, fits, kind) {
	if (!text.trim()) return null;
	let value;
	try {
		value = JSON.parse(text);
	} catch (failure) {
		throw new Error(`${what} is no JSON: ${failure.message}`);
	}
	if (!fits(value)) throw new Error(`${what} must be ${kind}, as JSON.`);
	return value;
}

function send() {
	const text = prompt.value.trim();
	if (busy() || !columns.length || (!text && !images.length)) return;
	let said;
	try {
		said = asked();
	} catch (failure) {
		tell(failure.message, "bad");
		return;
	}
	const sent = images;
	images = [];
	prompt.value = "";
	for (const each of columns) each.send(text, sent, said);
	redraw();
}

async function takeFiles(files) {
	for (const each of files || []) {
		if (!/^image\/(png|jpeg|webp|gif)$/.test(each.type)) {
			tell(`${each.name} is no PNG, JPEG, WebP or GIF`, "bad");
			continue;
		}
		if (each.size > MOST_IMAGE) {
			tell(`${each.name} is larger than 20 MiB`, "bad");
			continue;
		}
		images.push(
			await new Promise((resolve, reject) => {
				const reader = new FileReader();
				reader.onload = () => resolve(reader.result);
				reader.onerror = reject;
				reader.readAsDataURL(each);
			})
		);
	}
	redraw();
}

function code() {
	let said;
	try {
		said = asked();
	} catch (failure) {
		return trouble(failure);
	}
	return h(
		"div",
		{class: "form"},
		columns.map(column => {
			const body = column.body(said);
			const text = prompt.value.trim();
			if (!text && !images.length) while (body.messages.at(-1)?.role === "assistant") body.messages.pop();
			if (text || images.length || !body.messages.some(each => each.role === "user")) {
				const content = images.length
					? [{type: "text", text}, ...images.map(url => ({type: "image_url", image_url: {url}}))]
					: text || "Hello";
				body.messages = [...body.messages, {role: "user", content}];
			}
			return [copyable(curl(body), "curl command"), copyable(python(body), "Python program")];
		})
	);
}

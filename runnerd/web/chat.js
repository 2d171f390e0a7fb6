// A chat with one model, or with several side by side that are asked the same.
import {
	area,
	button,
	completes,
	copyable,
	cross,
	empty,
	field,
	forgotten,
	form,
	get,
	grid,
	h,
	heading,
	input,
	missing,
	nameOf,
	parsed,
	prompting,
	show,
	source,
	submit,
	tell,
	trouble,
	upload
} from "./ui.js";
import {Column, contentOf, curl, picture, python} from "./chat_column.js";

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
	names = null, // of the models that there are, once they are known
	images = [],
	error = null,
	redraw = () => {};

const on = {input: () => redraw()};
const system = h("textarea", {rows: 2, placeholder: "none", on});
const numbers = NUMBERS.map(([name, label, help]) => [name, label, help, input({type: "number", step: "any", placeholder: "default", on})]);
const others = area({placeholder: '{"stop": ["###"]}', on});
const tools = area({rows: 4, placeholder: '[{"type": "function", "function": {"name": "weather"}}]', on});
const prompt = prompting("Message", "Ask something; Enter sends, Shift-Enter begins a line", () => send(), {
	...on,
	paste: event => takeFiles(event.clipboardData?.files)
});
const file = upload({
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
	let wanted = query.get("model");
	const draw = (redraw = () => show(place, content()));
	const stored = source(
		() => get("models"),
		() => {
			({error} = stored);
			if (redraw !== draw) return; // another view is looked at
			names = stored.found?.filter(completes).map(nameOf) || null;
			if (wanted && !error && !columns.some(each => each.model === wanted)) {
				if (columns.length === 1 && !columns[0].turns.length) columns = [];
				add(wanted);
			}
			wanted = null;
			if (!columns.length && names?.length) add(names[0]);
			for (const each of columns) each.choose(names || []);
			draw();
		}
	);
	draw();
	stored.look();
	return () => {
		redraw = () => {};
	};
}

forgotten.add(() => {
	stop();
	columns = [];
	names = null;
	images = [];
	for (const each of [system, others, tools, prompt, ...numbers.map(([, , , control]) => control)]) each.value = "";
});

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

const stop = () => columns.forEach(each => each.stop());
const busy = () => columns.some(each => each.busy);

function content() {
	return h(
		"div.chat",
		{on: {dragover: dropped, drop: dropped}},
		heading(
			"Chat",
			columns.length < MOST_COLUMNS &&
				names?.length > 0 &&
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
					"div.chat-columns",
					columns.map(each => each.element)
				)
			: !error &&
					(!names ? missing() : empty("No model to talk to", "Get one under ", h("a", {link: "models"}, "Models"), ", or add one here.")),
		form(
			"form.composer",
			send,
			images.length
				? h(
						"div.thumbs",
						images.map((url, at) =>
							h(
								"span.thumb",
								{key: at + url.length},
								picture(url),
								cross(`Remove image ${at + 1}`, () => {
									images.splice(at, 1);
									redraw();
								})
							)
						)
					)
				: null,
			h(
				"div.composer-row",
				prompt,
				h(
					"div.actions",
					button("Images", () => file.click(), {name: "Add images"}),
					file,
					busy() ? button("Stop", stop, "danger") : submit("Send", {disabled: !columns.length})
				)
			)
		),
		h(
			"details.panel",
			h("summary", "System prompt, parameters, tools"),
			h(
				"div.form",
				field("System prompt", system),
				grid(numbers.map(([, label, help, control]) => field(label, control, help))),
				field("Other parameters, as JSON", others, "Members of the request, such as stop, min_p or response_format."),
				field("Tools, as JSON", tools, "OpenAI’s form; a call of the model is shown, and not carried out.")
			)
		),
		columns.length ? h("details.panel", h("summary", "The same with curl and Python"), code()) : null
	);
}

// What is asked beside the messages.  Raises an Error in words for what is no JSON.
function asked() {
	const parameters = {};
	for (const [name, , , control] of numbers) if (control.value !== "") parameters[name] = Number(control.value);
	const object = others.value.trim() ? parsed(others.value, "Other parameters") : {};
	if (!object || typeof object !== "object" || Array.isArray(object)) throw new Error("Other parameters must be an object, as JSON.");
	const list = tools.value.trim() ? parsed(tools.value, "Tools") : [];
	if (!Array.isArray(list)) throw new Error("Tools must be a list, as JSON.");
	return {system: system.value.trim(), parameters: {...parameters, ...object, ...(list.length ? {tools: list} : {})}};
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
		const reader = new FileReader();
		let wrong = each.size > MOST_IMAGE && "is larger than 20 MiB";
		if (!/^image\/(png|jpeg|webp|gif)$/.test(each.type)) wrong = "is no PNG, JPEG, WebP or GIF";
		if (!wrong) {
			reader.readAsDataURL(each);
			await new Promise(done => (reader.onloadend = done));
			wrong = !reader.result && "cannot be read";
		}
		if (wrong) tell(`${each.name} ${wrong}`, "bad");
		else images.push(reader.result);
	}
	redraw();
}

// Pictures that are dropped anywhere on the chat.
function dropped(event) {
	event.preventDefault();
	if (event.type === "drop") takeFiles(event.dataTransfer?.files);
}

function code() {
	let said;
	try {
		said = asked();
	} catch (failure) {
		return trouble(failure);
	}
	return h(
		"div.form",
		columns.map(column => {
			const body = column.body(said);
			const text = prompt.value.trim();
			if (!text && !images.length) while (body.messages.at(-1)?.role === "assistant") body.messages.pop();
			if (text || images.length || !body.messages.some(each => each.role === "user")) {
				const content = contentOf(text || (images.length ? "" : "Hello"), images);
				body.messages = [...body.messages, {role: "user", content}];
			}
			return [copyable(curl(body), "curl command"), copyable(python(body), "Python program")];
		})
	);
}

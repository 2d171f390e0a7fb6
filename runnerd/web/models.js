// The store: what models there are, and getting new ones; and each model by itself.
import {
	act,
	actionsOf,
	amount,
	ask,
	button,
	bytes,
	column,
	completes,
	confirm,
	cross,
	date,
	doing,
	download,
	empty,
	field,
	filter,
	form,
	get,
	h,
	heading,
	input,
	missing,
	muted,
	nameOf,
	news,
	number,
	owns,
	path,
	post,
	query,
	reading,
	record,
	remove,
	runnersOf,
	section,
	short,
	single,
	sub,
	table,
	tell,
	titleOf,
	trouble,
	uses,
	wide
} from "./ui.js";
import {configuration, fit, fits, reckon} from "./fit.js";
import {pulls} from "./pulls.js";
import {load, state, unload} from "./requests.js";

export const models = (place, parts) => (parts.length ? model(place, parts.join("/")) : list(place));

function list(place) {
	let wanted = "";
	const pull = pulls(() => view.draw());
	const search = filter("Filter models by name", text => {
		wanted = text;
		view.draw();
	});
	const stored = found => {
		const shown = found.filter(each => [...each.tags, each.id].join(" ").toLowerCase().includes(wanted));
		if (shown.length) return modelTable(shown);
		return found.length
			? empty("No name fits", `None of ${found.length} models is called like “${wanted}”.`)
			: empty("There are no models yet", "Get one above, or import a file: ", h("code", "runnerd import FILE.gguf"));
	};
	const view = reading(place, {
		read: async () => {
			const found = await get("models");
			reckon(found, () => view.draw());
			return found;
		},
		after: ["models", "transfer", "all"],
		content: (found, error) => [
			heading("Models", found?.length > 3 && search, owns() && prune()),
			error && found && trouble(error),
			section("Get a model", h("div.panel.form", pull())),
			section("In the store", found ? stored(found) : missing(error))
		]
	});
	return view.end;
}

const prune = () =>
	act(
		"Prune",
		"leftovers",
		() => post("models/prune"),
		({freed_bytes}) => `${bytes(freed_bytes)} are free again`,
		{kind: "", sure: "Files of no model, and what has arrived of pulls that nobody goes on with, are removed from the disk."}
	);

const modelTable = models =>
	table(
		"Models",
		[
			wide("Model", each => [
				h("a.name", {link: ["models", each.id]}, titleOf(each)),
				each.tags.length > 1 && sub(`also ${each.tags.slice(1).map(short).join(", ")}`)
			]),
			amount("Size", each => [bytes(each.runnerd?.size_bytes), each.runnerd?.borrowed_bytes > 0 && sub("borrowed")]),
			column("Quantisation", each => each.config.quantization || "–"),
			amount("Parameters", each => each.config.parameters || "–"),
			amount("Context", each => number(each.runnerd?.context_length || each.config.context_size || null)),
			column("Fits", fits),
			column("For", uses),
			column("State", each => {
				const runners = runnersOf(each);
				return runners.length ? h("span.chips", runners.map(state)) : h("span.muted", "not loaded");
			}),
			actionsOf(each => [
				completes(each) &&
					h("a.button.small", {link: `chat?model=${encodeURIComponent(nameOf(each))}`, label: `Chat with ${titleOf(each)}`}, "Chat"),
				runnersOf(each).some(runner => runner.state !== "failed") ? unload(each, runnersOf(each), "small") : load(each, "small")
			])
		],
		models
	);

// One model: what it is, its names, what memory it takes, how it is configured, and its end.

function model(place, id) {
	let memory = null,
		settings = null;
	const another = input({name: "tag", maxlength: 300, placeholder: "team/model:tag"});
	const view = single(place, {
		kind: "Model",
		all: "Models",
		back: "models",
		read: async () => {
			const found = await get(`models/${path(id)}`);
			const draw = () => view.draw();
			settings ||= configuration(found, draw);
			memory ||= fit(found, draw);
			return found;
		},
		after: ["models"],
		head: found => [titleOf(found), ...actions(found)],
		content: found => [
			about(found),
			section("Names", names(found)),
			section("Memory", memory.content()),
			section("Configuration", settings.content()),
			section("Remove", removal(found, view))
		]
	});

	const names = found =>
		h(
			"div.panel.form",
			h(
				"ul.chips",
				found.tags.map(tag =>
					h(
						"li.thumb",
						{key: tag},
						h("span.name", tag),
						owns() && push(tag),
						cross(`Remove the name ${tag}`, event => untag(event, tag), {disabled: found.tags.length < 2})
					)
				)
			),
			owns() && muted("Push sends the model to the registry in its name, with the daemon's login for it."),
			form("form.inline-form", event => addName(event, found), field("One more name", another), button("Add", null, {type: "submit"}))
		);

	function addName(event, found) {
		const text = another.value.trim();
		if (!text) return;
		const slash = text.lastIndexOf("/"),
			colon = text.lastIndexOf(":");
		const [repo, tag] = colon > slash ? [text.slice(0, colon), text.slice(colon + 1)] : [text, "latest"];
		doing(
			event,
			async () => {
				await ask("POST", query(`models/${path(found.id)}/tag`, {repo, tag}));
				another.value = "";
				await view.look();
			},
			`It is also called ${short(text)}`
		);
	}

	const untag = (event, tag) => doing(event, () => remove(`models/${path(tag)}`).then(view.look), `The name ${tag} is removed`);

	return view.end;
}

function actions(found) {
	const runners = runnersOf(found);
	return [
		...runners.map(state),
		owns() &&
			act("Export", titleOf(found), () => download(`${titleOf(found)}.tar`, `models/${path(found.id)}/export`), undefined, {kind: ""}),
		h("a.button", {link: `chat?model=${encodeURIComponent(nameOf(found))}`}, "Chat"),
		runners.some(runner => runner.state !== "failed") ? unload(found, runners, "") : load(found)
	];
}

function about(found) {
	const {runnerd = {}, config} = found,
		gguf = config.gguf || {};
	const others = {files: files(found), capabilities: uses(found), here_since: date(found.created)};
	const [name, licence] = ["general.name", "general.license"].map(each => gguf[each] ?? null);
	return h(
		"div.panel.section",
		record(
			{...config, ...runnerd, ...others, name_by_its_maker: name, licence, digest: h("code", found.id)},
			...["gguf", "size", "chat_template", "borrowed_bytes"]
		),
		gguf["general.description"] && h("p.help", gguf["general.description"])
	);
}

const borrowed = found => found.runnerd?.borrowed_bytes || 0;

// Whose files a model has; where borrowed ones lie is told to owners alone.
function files({borrowed_files: paths = {}, ...found}) {
	if (!borrowed(found)) return "in the store";
	const where = Object.keys(paths).map(name => h("code", name));
	return h("span.chips", `borrowed (${bytes(borrowed(found))}): used where they lie`, ...where);
}

// A push goes on in the daemon; its progress is with the pulls, and its end is told there and here.
const push = tag =>
	act("Push", tag, async () => {
		for await (const {type, message} of news(`models/${path(tag)}/push`)) if (type === "success") tell(`${short(tag)}: ${message}`, "good");
	});

const fate = found =>
	borrowed(found)
		? "leaves its borrowed files where they are; it can be imported again"
		: `frees what no other model shares of its ${bytes(found.runnerd?.size_bytes)}; it can be pulled or imported again`;

const removal = (found, view) =>
	h(
		"div.panel.inline-form",
		muted(`Removes ${found.tags.length > 1 ? `all ${found.tags.length} names` : "it"} and ${fate(found)}.`),
		button("Remove this model", event => removeModel(event, found, view), "danger")
	);

async function removeModel({currentTarget}, found, view) {
	const name = titleOf(found),
		where = `models/${path(found.id)}`;
	if (!(await confirm(`Remove ${name}?`, `This ${fate(found)}.`, "Remove it"))) return;
	const removed = async () => {
		try {
			await remove(where);
		} catch (failure) {
			if (failure.status !== 409) throw failure;
			if (!(await confirm(`Remove ${name} all the same?`, failure.message, "Remove anyway"))) return;
			await remove(`${where}?force=true`);
		}
		view.leave("#/models");
		return true;
	};
	await doing({currentTarget}, removed, done => done && `${name} is removed`);
}

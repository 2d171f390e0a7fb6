// One model: what it is, its names, what memory it takes, how it is configured, and its end.
import {
	act,
	ask,
	button,
	bytes,
	confirm,
	cross,
	date,
	doing,
	facts,
	field,
	form,
	get,
	h,
	input,
	lines,
	muted,
	nameOf,
	number,
	open,
	owns,
	path,
	remove,
	runnersOf,
	section,
	short,
	single,
	tell,
	titleOf,
	uses
} from "./ui.js";
import {configuration} from "./configuration.js";
import {fit} from "./fit.js";
import {load, state, unload} from "./runners.js";

export function model(place, parts) {
	const id = parts.join("/");
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

	const pushes = () => owns();
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
						pushes() && push(tag),
						cross(`Remove the name ${tag}`, event => untag(event, tag), {disabled: found.tags.length < 2})
					)
				)
			),
			pushes() && muted("Push sends the model to the registry in its name, with the daemon's login for it."),
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
				await ask("POST", `models/${path(found.id)}/tag?${new URLSearchParams({repo, tag})}`);
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
		h("a.button", {link: `chat?model=${encodeURIComponent(nameOf(found))}`}, "Chat"),
		runners.some(runner => runner.state !== "failed") ? unload(found, runners, "") : load(found)
	];
}

function about(found) {
	const {runnerd = {}, config} = found,
		gguf = config.gguf || {};
	return h(
		"div.panel.section",
		facts([
			["Size", bytes(runnerd.size_bytes)],
			["Files", files(found)],
			["Quantisation", config.quantization],
			["Parameters", config.parameters],
			["Architecture", config.architecture],
			["Trained context", runnerd.context_length ? `${number(runnerd.context_length)} tokens` : null],
			["For", uses(found)],
			["Reads images or sound", runnerd.mmproj ? "yes" : "no"],
			["Here since", date(found.created)],
			["Its maker's name for it", gguf["general.name"]],
			["Licence", gguf["general.license"]],
			["Digest", h("code", found.id)]
		]),
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
		for await (const line of lines(await open("POST", `models/${path(tag)}/push`))) {
			const news = JSON.parse(line);
			if (news.type === "error") throw new Error(news.message);
			if (news.type === "success") tell(`${short(tag)}: ${news.message}`, "good");
		}
	});

const removal = (found, view) =>
	h(
		"div.panel.inline-form",
		muted(
			`Removes all ${found.tags.length > 1 ? `${found.tags.length} names` : "of it"} and ` +
				(borrowed(found)
					? "leaves its borrowed files where they are."
					: `frees what no other model shares of its ${bytes(found.runnerd?.size_bytes)}.`)
		),
		button("Remove this model", event => removeModel(event, found, view), {kind: "danger"})
	);

async function removeModel({currentTarget}, found, view) {
	const name = titleOf(found),
		where = `models/${path(found.id)}`;
	const text = borrowed(found)
		? "Its files are borrowed: they stay where they are. To have it again it has to be imported again."
		: "What no other model shares of its files is deleted from the store. To have it again it has to be pulled or imported again.";
	if (!(await confirm(`Remove ${name}?`, text, "Remove it"))) return;
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

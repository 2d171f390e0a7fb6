// One model: what it is, its names, what memory it takes, how it is configured, and its end.
import {ask, get, path, post, remove} from "./api.js";
import {h, show} from "./dom.js";
import {bytes, date, number, short} from "./format.js";
import {nudge, watch} from "./live.js";
import {fit} from "./fit.js";
import {configuration} from "./configuration.js";
import {inUse, runnersOf} from "./models.js";
import {state, unload} from "./overview.js";
import {
	button,
	chip,
	confirm,
	doing,
	facts,
	field,
	heading,
	input,
	missing,
	muted,
	section,
	tell,
	trouble
} from "./widgets.js";

export function model(place, [id]) {
	let found = null,
		error = null,
		memory = null,
		form = null;

	async function look() {
		try {
			found = await get(`models/${path(id)}`);
			error = null;
			form = form || configuration(found, draw);
			memory = memory || fit(found, draw);
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	function draw() {
		if (!found) {
			show(place, heading(error ? "No such model" : "Model"), missing(error), h("a", {link: "models"}, "All models"));
			return;
		}
		show(
			place,
			h("p", {}, h("a", {link: "models"}, "Models")),
			heading(short(found.tags[0]) || found.id.slice(0, 19), ...actions()),
			error && trouble(error),
			about(),
			section("Names", names()),
			section("Memory", memory.content()),
			section("Configuration", form.content()),
			section("Remove", removal())
		);
	}

	function actions() {
		const name = short(found.tags[0]) || found.id;
		const runners = runnersOf(found);
		return [
			...runners.map(state),
			h("a", {class: "button", link: `chat?model=${encodeURIComponent(found.tags[0] || found.id)}`}, "Chat"),
			runners.some(runner => runner.state !== "failed")
				? button("Unload", event => unload(event, found.id, name, inUse(runners)))
				: button("Load", event => load(event, found.tags[0] || found.id, name), {kind: "primary"})
		];
	}

	function about() {
		const about = found.runnerd || {};
		const gguf = found.config.gguf || {};
		return h(
			"div",
			{class: "panel section"},
			facts([
				["Size", bytes(about.size_bytes)],
				["Quantisation", found.config.quantization],
				["Parameters", found.config.parameters],
				["Architecture", found.config.architecture],
				["Trained context", about.context_length ? `${number(about.context_length)} tokens` : null],
				[
					"For",
					h(
						"span",
						{class: "chips"},
						(about.capabilities || []).map(can => chip(can))
					)
				],
				["Reads images or sound", about.mmproj ? "yes" : "no"],
				["Here since", date(found.created)],
				["Its maker's name for it", gguf["general.name"]],
				["Licence", gguf["general.license"]],
				["Digest", h("code", {}, found.id)]
			]),
			gguf["general.description"] && h("p", {class: "help"}, gguf["general.description"])
		);
	}

	const another = input({name: "tag", maxlength: 300, placeholder: "team/model:tag"});

	function names() {
		return h(
			"div",
			{class: "panel form"},
			h(
				"ul",
				{class: "chips"},
				found.tags.map(tag =>
					h(
						"li",
						{class: "thumb", key: tag},
						h("span", {class: "name"}, tag),
						button("", event => untag(event, tag), {
							kind: "quiet small",
							name: `Remove the name ${tag}`,
							picture: "close",
							disabled: found.tags.length < 2
						})
					)
				)
			),
			h(
				"form",
				{class: "inline-form", on: {submit: addName}},
				field("One more name", another),
				button("Add", null, {type: "submit"})
			)
		);
	}

	function addName(event) {
		event.preventDefault();
		const text = another.value.trim();
		if (!text) return;
		const slash = text.lastIndexOf("/"),
			colon = text.lastIndexOf(":");
		const [repo, tag] = colon > slash ? [text.slice(0, colon), text.slice(colon + 1)] : [text, "latest"];
		doing(
			null,
			async () => {
				await ask("POST", `models/${path(found.id)}/tag?${new URLSearchParams({repo, tag})}`);
				another.value = "";
				await look();
			},
			`It is also called ${short(text)}`
		);
	}

	const untag = (event, tag) =>
		doing(
			event,
			async () => {
				await remove(`models/${path(tag)}`);
				await look();
			},
			`The name ${tag} is removed`
		);

	const removal = () =>
		h(
			"div",
			{class: "panel inline-form"},
			muted(
				`Removes all ${found.tags.length > 1 ? `${found.tags.length} names` : "of it"} and frees what no other model shares of its ${bytes(found.runnerd?.size_bytes)}.`
			),
			button("Remove this model", removeModel, {kind: "danger"})
		);

	async function removeModel() {
		const name = short(found.tags[0]) || found.id;
		if (
			!(await confirm(
				`Remove ${name}?`,
				`Its files are deleted from this host. To have it again it has to be pulled or imported again.`,
				"Remove it"
			))
		)
			return;
		try {
			await remove(`models/${path(found.id)}`);
		} catch (failure) {
			if (failure.status !== 409) {
				tell(failure.message, "bad");
				return;
			}
			if (!(await confirm(`Remove ${name} all the same?`, failure.message, "Remove anyway"))) return;
			if (
				!(await doing(null, async () => {
					await remove(`models/${path(found.id)}?force=true`);
					return true;
				}))
			)
				return;
		}
		tell(`${name} is removed`, "good");
		location.hash = "#/models";
	}

	draw();
	look();
	return watch(kinds => (kinds.has("models") ? look() : draw()));
}

export const load = (event, id, name) =>
	doing(
		event,
		async () => {
			nudge("runner", 300);
			await post("engines/load", {models: [id]});
			nudge("runner", 0);
		},
		`${name} is loaded`
	);

// Models that are elsewhere: on the hub, in the catalogue; and the logins with which they are pulled.
import {
	act,
	actionsOf,
	amount,
	chip,
	column,
	date,
	empty,
	field,
	get,
	h,
	input,
	line,
	muted,
	note,
	path,
	post,
	query,
	record,
	remove,
	rows,
	short,
	small,
	source,
	sub,
	table,
	trouble,
	unfolding,
	wide
} from "./ui.js";
import {ask, verdict} from "./fit.js";

// `pull(name)` begins a pull; `draw` shows the view anew.
export function hubSearch(pull, draw) {
	const fitting = new Map(); // by model: what the daemon said, or its error
	const words = input({type: "search", maxlength: 200, placeholder: "qwen3 coder"});

	const now = source(async () => {
		const q = words.value.trim();
		return q ? {q, models: await get(query("runnerd/search", {q}))} : words.focus();
	}, draw);

	async function reckon({model}) {
		try {
			fitting.set(model, await ask(model));
		} catch (failure) {
			fitting.set(model, failure);
		}
		draw();
	}

	function fit({model}) {
		const said = fitting.get(model);
		if (!said) return "–";
		return said instanceof Error ? sub(said.message) : [verdict(said), sub(said.sentence)];
	}

	const results = ({q, models}) =>
		models.length
			? table(
					"Found on the hub",
					[
						wide("Model", each => [h("span.name", each.model), each.gated && chip("asks for a login", "warn")]),
						amount("Downloads", "downloads"),
						amount("Likes", "likes"),
						column("Changed", "modified", date),
						wide("Fits", fit),
						actionsOf(each => [
							act("Does it fit?", each.model, () => reckon(each), undefined, {name: `Does ${each.model} fit?`}),
							act("Pull", each.model, () => pull(each.model), undefined, {kind: "small primary"})
						])
					],
					models,
					each => each.model
				)
			: empty("Nothing was found", `The hub has no GGUF model whose name has “${q}”.`);

	return () => [
		line(now.look, "Search", field("Search the hub", words)),
		now.error ? trouble(now.error) : now.found && h("div", {role: "status"}, results(now.found))
	];
}

// What Pantry's registry says of models, here and elsewhere.
export function catalog(pull, draw) {
	const now = source(() => get("runnerd/catalog"), draw);
	const actions = each => [
		each.link && !each.model && act("Pull", each.id, () => pull(each.link), undefined, {kind: "small primary"}),
		small("Details", `of ${each.id}`, () => note(each.id, "Close", record(each.entry)))
	];
	return () =>
		unfolding("The catalogue", now, found => [
			table(
				"Catalogue",
				[
					wide("Entry", each => [h("span.name", each.id), sub(each.entry.description)]),
					wide("Model", each => (each.model ? short(each.model) : "not here")),
					wide("Licence", each => each.entry.license),
					actionsOf(actions)
				],
				found
			),
			muted("runnerd catalog adds and edits entries.")
		]);
}

// A user's own logins: the owner's are the daemon's.
export function logins(draw) {
	const now = source(() => get("runnerd/logins"), draw);
	const registry = input({placeholder: "ghcr.io, or hf.co"}),
		username = input(),
		password = input({type: "password"});

	async function add() {
		await post("runnerd/logins", {registry: registry.value.trim(), username: username.value.trim(), password: password.value});
		password.value = "";
		await now.look();
	}

	return () =>
		unfolding("Logins at registries and at the hub", now, found => [
			found.length > 0 &&
				rows(
					"Logins",
					found,
					["registry", "username", "created"],
					each => each.registry,
					actionsOf(({registry}) => [
						act(
							"Forget",
							`the login at ${registry}`,
							() => remove(`runnerd/logins/${path(registry)}`).then(now.look),
							"The login is forgotten"
						)
					])
				),
			line(add, "Log in", field("Registry", registry), field("User name", username), field("Password or token", password))
		]);
}

// The store: what models there are, and getting new ones.
import {
	actionsOf,
	amount,
	bytes,
	column,
	completes,
	empty,
	filter,
	get,
	h,
	heading,
	missing,
	nameOf,
	number,
	reading,
	runnersOf,
	section,
	short,
	sub,
	table,
	titleOf,
	trouble,
	uses,
	wide
} from "./ui.js";
import {fits, reckon} from "./fit.js";
import {load, state, unload} from "./runners.js";
import {pulls} from "./pulls.js";

export function models(place) {
	let wanted = "";
	const pull = pulls(() => view.draw());
	const search = filter(
		"Filter models by name",
		text => {
			wanted = text;
			view.draw();
		},
		"Filter by name"
	);
	const stored = found => {
		const shown = found.filter(each => [...each.tags, each.id].join(" ").toLowerCase().includes(wanted));
		if (shown.length) return list(shown);
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
			heading("Models", found?.length > 3 && search),
			error && found && trouble(error),
			section("Get a model", h("div.panel.form", pull())),
			section("In the store", found ? stored(found) : missing(error))
		]
	});
	return view.end;
}

const list = models =>
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

// Models of the hub by words of their names: what there is, whether it fits, and pulling it.
import {act, actionsOf, amount, chip, column, date, empty, field, get, h, input, line, source, sub, table, trouble, wide} from "./ui.js";
import {ask, verdict} from "./fit.js";

// `pull(name)` begins a pull; `draw` shows the view anew.
export function hubSearch(pull, draw) {
	const fitting = new Map(); // by model: what the daemon said, or its error
	const words = input({type: "search", maxlength: 200, placeholder: "qwen3 coder"});

	const now = source(async () => {
		const q = words.value.trim();
		return q ? {q, models: await get(`runnerd/search?${new URLSearchParams({q})}`)} : words.focus();
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

// Models of the hub by words of their names: what there is, whether it fits, and pulling it.
import {get} from "./api.js";
import {el, h} from "./dom.js";
import {date, number} from "./format.js";
import {ask, verdict} from "./fit.js";
import {
	act,
	actionsOf,
	amount,
	button,
	chip,
	column,
	doing,
	empty,
	field,
	form,
	input,
	sub,
	table,
	trouble,
	wide
} from "./widgets.js";

// `pull(name)` begins a pull; `draw` shows the view anew.
export function hubSearch(pull, draw) {
	let found = null,
		error = null,
		asked = "";
	const fitting = new Map(); // by model: what the daemon said, or its error
	const words = input({type: "search", maxlength: 200, placeholder: "qwen3 coder"});

	async function look() {
		asked = words.value.trim();
		if (!asked) return words.focus();
		try {
			found = await get(`runnerd/search?${new URLSearchParams({q: asked})}`);
			error = null;
		} catch (failure) {
			found = null;
			error = failure;
		}
		draw();
	}

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

	const results = () =>
		found.length
			? table(
					"Found on the hub",
					[
						wide("Model", each => [el("span.name", each.model), each.gated && chip("asks for a login", "warn")]),
						amount("Downloads", each => number(each.downloads)),
						amount("Likes", each => number(each.likes)),
						column("Changed", each => date(each.modified)),
						wide("Fits", fit),
						actionsOf(each => [
							act("Does it fit?", `Does ${each.model} fit?`, () => reckon(each)),
							act("Pull", `Pull ${each.model}`, () => pull(each.model), undefined, {kind: "small primary"})
						])
					],
					found,
					each => each.model
				)
			: empty("Nothing was found", `The hub has no GGUF model whose name has “${asked}”.`);

	return () => [
		form(
			"form.inline-form",
			event => doing(event, look),
			field("Search the hub", words),
			button("Search", null, {type: "submit"})
		),
		error && trouble(error),
		found && h("div", {role: "status"}, results())
	];
}

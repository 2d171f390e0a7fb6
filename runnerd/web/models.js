// The store: what models there are, and getting new ones.
import {get} from "./api.js";
import {h, show} from "./dom.js";
import {bytes, number, short} from "./format.js";
import {live, nudge, watch} from "./live.js";
import {fits, reckon} from "./fit.js";
import {load} from "./model.js";
import {pulls} from "./pulls.js";
import {state, unload} from "./overview.js";
import {actionsOf, button, chip, empty, heading, input, muted, section, sub, table, trouble} from "./widgets.js";

export function models(place) {
	let found = null,
		error = null,
		wanted = "",
		ended = false;
	const pull = pulls(() => draw());
	const search = input({
		type: "search",
		class: "search",
		placeholder: "Filter by name",
		"aria-label": "Filter models by name",
		on: {
			input: event => {
				wanted = event.target.value;
				draw();
			}
		}
	});

	async function look() {
		try {
			found = await get("models");
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
		if (found)
			reckon(found, () => {
				if (!ended) draw();
			});
	}

	function draw() {
		const shown = (found || []).filter(each =>
			[...each.tags, each.id].join(" ").toLowerCase().includes(wanted.toLowerCase())
		);
		show(
			place,
			heading("Models", found?.length > 3 && search),
			error && trouble(error),
			section("Get a model", h("div", {class: "panel"}, pull.content())),
			section(
				"In the store",
				!found
					? muted("Loading…")
					: found.length === 0
						? empty(
								"There are no models yet",
								"Get one above, or import a file: ",
								h("code", {}, "runnerd import FILE.gguf")
							)
						: shown.length === 0
							? empty("No name fits", `None of ${found.length} models is called like “${wanted}”.`)
							: list(shown)
			)
		);
	}

	draw();
	look();
	const end = watch(kinds => {
		pull.look(kinds);
		if (["models", "transfer", "all"].some(kind => kinds.has(kind))) look();
		else draw();
	});
	return () => {
		ended = true;
		end();
		pull.end();
	};
}

export const runnersOf = model =>
	(live.overview?.runners || []).filter(each =>
		each.models.some(name => model.tags.includes(name) || name === model.id)
	);

export const inUse = runners => runners.reduce((sum, runner) => sum + runner.requests + runner.waiting, 0);

function list(models) {
	return table(
		"Models",
		[
			{
				title: "Model",
				wide: true,
				cell: each => [
					h(
						"a",
						{class: "name", link: `models/${encodeURIComponent(each.id)}`},
						short(each.tags[0]) || each.id.slice(0, 19)
					),
					each.tags.length > 1 && sub(`also ${each.tags.slice(1).map(short).join(", ")}`)
				]
			},
			{title: "Size", number: true, cell: each => bytes(each.runnerd?.size_bytes)},
			{title: "Quantisation", cell: each => each.config.quantization || "–"},
			{title: "Parameters", number: true, cell: each => each.config.parameters || "–"},
			{
				title: "Context",
				number: true,
				cell: each => number(each.runnerd?.context_length || each.config.context_size || null)
			},
			{title: "Fits", cell: fits},
			{
				title: "For",
				cell: each =>
					h(
						"span",
						{class: "chips"},
						(each.runnerd?.capabilities || []).map(can => chip(can))
					)
			},
			{
				title: "State",
				cell: each => {
					const runners = runnersOf(each);
					return runners.length
						? h("span", {class: "chips"}, runners.map(state))
						: h("span", {class: "muted"}, "not loaded");
				}
			},
			actionsOf(actions)
		],
		models,
		each => each.id
	);
}

function actions(each) {
	const name = short(each.tags[0]) || each.id;
	const runners = runnersOf(each).filter(runner => runner.state !== "failed");
	const completes = (each.runnerd?.capabilities || ["completion"]).some(can => /completion|chat/.test(can));
	return [
		completes &&
			h(
				"a",
				{
					class: "button small",
					link: `chat?model=${encodeURIComponent(each.tags[0] || each.id)}`,
					"aria-label": `Chat with ${name}`
				},
				"Chat"
			),
		runners.length
			? button("Unload", event => unload(event, each.id, name, inUse(runners)), {kind: "small", name: `Unload ${name}`})
			: button("Load", event => load(event, each.tags[0] || each.id, name).then(() => nudge("runner", 0)), {
					kind: "small",
					name: `Load ${name}`
				})
	];
}

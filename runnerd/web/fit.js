// Whether a model fits: what it needs, where, who would make room, and how long its context can be.
import {get} from "./api.js";
import {h} from "./dom.js";
import {bytes, number, short} from "./format.js";
import {button, chip, doing, facts, field, input, muted, table, trouble} from "./widgets.js";

const WORDS = {now: ["fits now", "good"], evicting: ["others make room", "warn"], no: ["does not fit", "bad"]};

export const ask = (model, said = {}) => get(`runnerd/fit?${new URLSearchParams({model, ...said})}`);

export const verdict = found => {
	const [text, kind] = WORDS[found.fits] || [found.fits, ""];
	return chip(text, kind);
};

// What is known of a model, with its numbers; `said` are those that were asked for.
export function told(found) {
	return [
		h("p", {}, verdict(found), " ", found.sentence),
		facts([
			["Context", found.context ? `${number(found.context)} tokens` : null],
			["Requests at a time", number(found.parallel)],
			["Longest context here", found.longest_context ? `${number(found.longest_context)} tokens` : "none"],
			["Beside what is loaded", found.longest_beside ? `${number(found.longest_beside)} tokens` : "none"],
			["Makes room", found.evicts?.length ? found.evicts.map(short).join(", ") : null],
			["To download", found.here ? null : bytes(found.bytes)]
		]),
		found.devices.length
			? table(
					"Memory that is needed",
					[
						{title: "Device", wide: true, cell: each => (each.id === "ram" ? "RAM" : each.id)},
						{title: "Needed", number: true, cell: each => bytes(each.need)},
						{title: "Free beside others", number: true, cell: each => bytes(each.room)},
						{title: "At most", number: true, cell: each => bytes(each.most)}
					],
					found.devices,
					each => each.id
				)
			: null
	];
}

// The same for a model of the store, with other numbers to be tried.
export function fit(model, draw) {
	const name = model.tags[0] || model.id;
	let found = null,
		error = null;
	const context = input({type: "number", min: 1, step: 1, placeholder: "as configured"});
	const parallel = input({type: "number", min: 1, step: 1, placeholder: "as configured"});

	async function look() {
		const said = {};
		if (context.value) said.context = context.value;
		if (parallel.value) said.parallel = parallel.value;
		try {
			found = await ask(name, {here: "true", ...said});
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	look();
	return {
		content: () =>
			h(
				"div",
				{class: "panel form"},
				error && trouble(error),
				found ? told(found) : !error && muted("Reckoning…"),
				h(
					"form",
					{
						class: "inline-form",
						on: {
							submit: event => {
								event.preventDefault();
								doing({currentTarget: event.target.querySelector("[type=submit]")}, look);
							}
						}
					},
					field("With a context of", context),
					field("With requests at a time", parallel),
					button("Reckon", null, {type: "submit"})
				)
			)
	};
}

// How long the context of each model can be, asked for one after the other, once.
const longest = new Map();
let asking = false;

export async function reckon(models, changed) {
	if (asking) return;
	asking = true;
	try {
		for (const each of models.filter(model => !longest.has(model.id))) {
			longest.set(each.id, null);
			try {
				longest.set(each.id, await ask(each.tags[0] || each.id, {here: "true"}));
			} catch (failure) {
				if (failure.status === 404 || failure.status === 0) longest.delete(each.id);
				if (failure.status === 0) return;
			}
			changed();
		}
	} finally {
		asking = false;
	}
}

export function fits(model) {
	const found = longest.get(model.id);
	if (!found) return "–";
	return found.longest_context ? `up to ${number(found.longest_context)} tokens` : chip("does not fit", "bad");
}

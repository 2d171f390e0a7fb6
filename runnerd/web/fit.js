// Whether a model fits: what it needs, where, who would make room, and how long its context can be.
import {get} from "./api.js";
import {el} from "./dom.js";
import {bytes, number, short} from "./format.js";
import {nameOf} from "./stored.js";
import {amount, button, chip, doing, facts, field, form, input, muted, table, trouble, wide} from "./widgets.js";

const WORDS = {now: ["fits now", "good"], evicting: ["others make room", "warn"], no: ["does not fit", "bad"]};

export const ask = (model, said = {}) => get(`runnerd/fit?${new URLSearchParams({model, ...said})}`);

export const verdict = found => {
	const [text, kind] = WORDS[found.fits] || [found.fits, ""];
	return chip(text, kind);
};

// What is known of a model, with its numbers; `said` are those that were asked for.
export function told(found) {
	return [
		el("p", verdict(found), " ", found.sentence),
		facts([
			["Context", found.context ? `${number(found.context)} tokens` : null],
			["Requests at a time", number(found.parallel)],
			["Longest context here", found.longest_context ? `${number(found.longest_context)} tokens` : "none"],
			["Beside what is loaded", found.longest_beside ? `${number(found.longest_beside)} tokens` : "none"],
			["Makes room", found.evicts?.length ? found.evicts.map(short).join(", ") : null],
			["To download", found.here ? null : bytes(found.bytes)]
		]),
		found.devices.length > 0 &&
			table(
				"Memory that is needed",
				[
					wide("Device", each => (each.id === "ram" ? "RAM" : each.id)),
					amount("Needed", each => bytes(each.need)),
					amount("Free beside others", each => bytes(each.room)),
					amount("At most", each => bytes(each.most))
				],
				found.devices,
				each => each.id
			)
	];
}

// The same for a model of the store, with other numbers to be tried.
export function fit(model, draw) {
	const name = nameOf(model);
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
			el(
				"div.panel.form",
				error && trouble(error),
				found ? told(found) : !error && muted("Reckoning…"),
				form(
					"form.inline-form",
					event => doing(event, look),
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
				longest.set(each.id, await ask(nameOf(each), {here: "true"}));
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

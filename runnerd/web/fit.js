// Whether a model fits: what it needs, where, who would make room, and how long its context can be.
import {
	amount,
	bytes,
	chip,
	facts,
	field,
	forgotten,
	form,
	get,
	h,
	input,
	line,
	muted,
	nameOf,
	number,
	short,
	source,
	table,
	trouble,
	wide
} from "./ui.js";

const WORDS = {now: ["fits now", "good"], evicting: ["others make room", "warn"], no: ["does not fit", "bad"]};

export const ask = (model, said = {}) => get(`runnerd/fit?${new URLSearchParams({model, ...said})}`);

export const verdict = found => {
	const [text, kind] = WORDS[found.fits] || [found.fits, ""];
	return chip(text, kind);
};

// What is known of a model, with its numbers; `said` are those that were asked for.
export function told(found) {
	return [
		h("p", verdict(found), " ", found.sentence),
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
					amount("Needed", "need", bytes),
					amount("Free beside others", "room", bytes),
					amount("At most", "most", bytes)
				],
				found.devices
			)
	];
}

// The same for a model of the store, with other numbers to be tried.
export function fit(model, draw) {
	const name = nameOf(model);
	const context = input({type: "number", min: 1, step: 1, placeholder: "as configured"});
	const parallel = input({type: "number", min: 1, step: 1, placeholder: "as configured"});

	const now = source(async () => {
		const said = {here: "true"};
		if (context.value) said.context = context.value;
		if (parallel.value) said.parallel = parallel.value;
		return ask(name, said);
	}, draw);
	now.look();
	return {
		content: () =>
			h(
				"div.panel.form",
				now.error && trouble(now.error),
				now.found ? told(now.found) : !now.error && muted("Reckoning…"),
				line(now.look, "Reckon", field("With a context of", context), field("With requests at a time", parallel))
			)
	};
}

// How long the context of each model can be, asked for one after the other, once.
const longest = new Map();
let asking = false;
forgotten.add(() => longest.clear());

export async function reckon(models, changed) {
	if (asking) return;
	asking = true;
	try {
		for (const each of models.filter(model => !longest.has(model.id))) {
			longest.set(each.id, null);
			try {
				longest.set(each.id, await ask(nameOf(each), {here: "true"}));
			} catch (failure) {
				if (failure.status === 404 || !failure.status) longest.delete(each.id);
				if (!failure.status) return;
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

// Models of the store, as the lists and the choices of all views call them.
import {get} from "./api.js";
import {h} from "./dom.js";
import {short} from "./format.js";
import {live} from "./live.js";
import {chip, choice} from "./widgets.js";

// What the daemon is asked for, and what people read.
export const nameOf = model => model.tags[0] || model.id;
export const titleOf = model => short(model.tags[0]) || model.id.slice(0, 19);

const capabilities = model => model.runnerd?.capabilities || [];

export const completes = model => capabilities(model).some(can => /completion|chat/.test(can));

export const uses = model =>
	h(
		"span.chips",
		capabilities(model).map(can => chip(can))
	);

export const runnersOf = model =>
	(live.overview?.runners || []).filter(each => each.models.some(name => model.tags.includes(name) || name === model.id));

export const inUse = runners => runners.reduce((sum, runner) => sum + runner.requests + runner.waiting, 0);

// A choice of the models that fit.
export async function modelChoice(fits = () => true) {
	let models = [];
	try {
		models = (await get("models")).filter(fits);
	} catch {
		// there is none to choose then
	}
	return choice(
		models.map(each => [nameOf(each), titleOf(each)]),
		models[0] && nameOf(models[0])
	);
}

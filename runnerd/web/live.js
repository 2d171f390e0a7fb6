// What the daemon does now: one picture of it for all views, brought up to date by its events.
import {events, follow, get, source} from "./api.js";
import {h, show} from "./dom.js";
import {short} from "./format.js";
import {chip, choice, heading, missing, tell, trouble} from "./widgets.js";

const TOGETHER = 250, // milliseconds in which events are collected for one look
	ENDED = 1000; // the same for requests that have ended: where there are many, each look shows several
const BUSY = 2000,
	QUIET = 10000; // milliseconds between looks without an event

export const SAID = {connecting: "Connecting", broken: "No connection; trying again"};

const listeners = new Set();
let timer = 0,
	due = 0, // when it rings
	dirty = new Set(),
	stop = null,
	looking = false,
	halts = 0; // what was asked for before one, or with another key, interests nobody

export const live = {overview: null, error: null, connection: "connecting", me: null};

export const owns = () => Boolean(live.me?.may.includes("superuser"));

// `run(kinds)` is called after each look; kinds: what has changed, "all" at the beginning.
export function watch(run) {
	listeners.add(run);
	return () => listeners.delete(run);
}

function publish(kinds) {
	for (const run of [...listeners]) run(kinds);
}

export function nudge(kind = "all", after = TOGETHER) {
	dirty.add(kind);
	const at = performance.now() + after;
	if (timer && due <= at) return;
	clearTimeout(timer);
	due = at;
	timer = setTimeout(look, after);
}

async function look() {
	timer = 0;
	if (looking || document.hidden) return;
	looking = true;
	const kinds = dirty,
		before = halts;
	let overview = null,
		failure = null;
	dirty = new Set();
	try {
		overview = await get("runnerd/overview");
	} catch (error) {
		failure = error;
	}
	looking = false;
	if (before !== halts || failure?.name === "AbortError") {
		if (dirty.size) nudge("all", 0);
		return;
	}
	live.overview = overview || live.overview;
	live.error = failure;
	if (!failure && live.connection === "broken") live.connection = "live";
	if (failure?.status === 0) live.connection = "broken";
	publish(kinds);
	if (live.error?.status === 401) return;
	const busy =
		live.overview?.runners?.some(runner => runner.requests || runner.state === "starting" || runner.state === "stopping") ||
		live.overview?.queue?.waiting ||
		live.overview?.transfers?.length;
	// What has happened during the look is not in it.
	if (!timer) nudge("time", dirty.size ? TOGETHER : busy || live.error ? BUSY : QUIET);
}

function told({state, kind, model, error}) {
	if (state === "done") tell(`${short(model)}: the ${kind} is complete`, "good");
	if (state === "failed") tell(`${short(model)}: ${error}`, /was cancelled/.test(error) ? "" : "bad");
}

// Look at nothing until the next `start`, and forget what was seen: it may be for others alone.
export function halt() {
	stop?.();
	clearTimeout(timer);
	timer = 0;
	dirty = new Set();
	live.overview = null;
	halts++;
}

export function start() {
	halt();
	stop = follow("runnerd/events", {
		async read(response, seen) {
			for await (const {id, event, data} of events(response)) {
				seen(id);
				if (event === "transfer") told(JSON.parse(data));
				if (event === "request" || event === "skipped") nudge("request", ENDED);
				else nudge(event === "missed" ? "all" : event);
			}
		},
		state(how) {
			live.connection = typeof how === "string" ? how : "live";
			nudge("all", 0);
		}
	});
	nudge("all", 0);
}

document.addEventListener("visibilitychange", () => {
	if (!document.hidden) nudge("all", 0);
});

// Views that show what they read of the daemon: lists, and one thing of a list.

const EVERY = 2000; // milliseconds between looks while something `moves`

// `read()` when the view is opened and when one of the kinds `after` has changed, and again and again
// while `moves(found)`; what it gives is shown by `content(found, error)`.  What there was stays when
// reading fails.
export function reading(place, {read, content, after = [], moves = () => false}) {
	let ended = false;
	const draw = () => ended || show(place, content(now.found, now.error));
	const now = source(read, draw);
	const timer = setInterval(() => {
		if (!document.hidden && moves(now.found)) now.look();
	}, EVERY);
	const end = watch(kinds => (after.some(kind => kinds.has(kind)) ? now.look() : draw()));
	draw();
	now.look();
	return {
		get found() {
			return now.found;
		},
		look: now.look,
		draw,
		// Go to another place, unless somebody has gone to one meanwhile.
		leave: where => ended || (location.hash = where),
		end: () => {
			ended = true;
			clearInterval(timer);
			end();
		}
	};
}

// A list: its title, `actions(found)` beside it, `content(found)` as soon as it was read.
export const listing = (place, {title, actions = () => [], content, ...rest}) =>
	reading(place, {
		...rest,
		content: (found, error) => [
			heading(title, ...actions(found)),
			error && found && trouble(error),
			found ? content(found) : missing(error)
		]
	});

// One thing: a way back to the list `all`, at the place `back`; `head(found)`: its name, and what can be done.
export const single = (place, {kind, all, back, head, content, ...rest}) =>
	reading(place, {
		...rest,
		content: (found, error) =>
			found
				? [h("p", h("a", {link: back}, all)), heading(...head(found)), error && trouble(error), content(found)]
				: [heading(error ? `No such ${kind.toLowerCase()}` : kind), missing(error), h("a", {link: back}, `All ${all.toLowerCase()}`)]
	});

// Models of the store, as the lists and the choices of all views call them.

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
	const models = (await get("models").catch(() => [])).filter(fits); // with none there is none to choose
	return choice(
		models.map(each => [nameOf(each), titleOf(each)]),
		models[0] && nameOf(models[0])
	);
}

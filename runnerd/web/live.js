// What the daemon does now: one picture of it for all views, brought up to date by its events.
import {follow, events, get} from "./api.js";
import {short} from "./format.js";
import {tell} from "./widgets.js";

const TOGETHER = 250, // milliseconds in which events are collected for one look
	ENDED = 1000; // the same for requests that have ended: where there are many, each look shows several
const BUSY = 2000,
	QUIET = 10000; // milliseconds between looks without an event

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

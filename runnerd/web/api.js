// The daemon's HTTP API.  Who asks is known from the connection, or by a key that is kept for as
// long as this tab is open.

const ROOT = new URL("../../", import.meta.url);
const KEY = "runnerd-key";
const LONGEST_PAUSE = 15000; // milliseconds between attempts to follow events again

class ApiError extends Error {
	constructor(message, status) {
		super(message);
		this.status = status;
	}
}

// What is asked for with one key is nothing for who looks with another: it is broken off, and
// `forgotten` is called, where views add what drops the rest.
let era = new AbortController();
export const forgotten = new Set();
export const key = {
	get: () => sessionStorage.getItem(KEY) || "",
	set(text) {
		if (text === key.get()) return;
		if (text) sessionStorage.setItem(KEY, text);
		else sessionStorage.removeItem(KEY);
		era.abort();
		era = new AbortController();
		for (const forget of forgotten) forget();
	}
};

export const address = () => ROOT.href.replace(/\/$/, "");

// A name as a part of a path: its slashes stay.
export const path = name => String(name).split("/").map(encodeURIComponent).join("/");

// An address with what is asked of it; members that are not there are left out.
export const query = (where, said) =>
	`${where}?${new URLSearchParams(Object.entries(said).filter(([, value]) => value !== undefined && value !== ""))}`;

export async function open(method, where, body, {signal, accept = "application/json", headers = {}} = {}) {
	const said = {Accept: accept, ...headers};
	if (key.get()) said.Authorization = `Bearer ${key.get()}`;
	const raw = body === undefined || body instanceof Blob || body instanceof FormData; // a file goes as it is
	if (!raw) said["Content-Type"] = "application/json";
	let response;
	try {
		response = await fetch(new URL(where, ROOT), {
			method,
			signal: signal ? AbortSignal.any([era.signal, signal]) : era.signal,
			headers: said,
			body: raw ? body : JSON.stringify(body),
			credentials: "same-origin",
			cache: "no-store",
			redirect: "error"
		});
	} catch (error) {
		if (error.name === "AbortError") throw error;
		throw new ApiError("The daemon does not answer. It may have ended, or the network may be down.", 0);
	}
	if (!response.ok) throw new ApiError(words(await response.text(), response.status), response.status);
	return response;
}

function words(text, status) {
	try {
		const error = JSON.parse(text).error;
		return String(error.message || error);
	} catch {
		return text.slice(0, 500) || `The daemon answered with the status ${status}.`;
	}
}

export async function ask(method, where, body, options) {
	const text = await (await open(method, where, body, options)).text();
	return text ? JSON.parse(text) : null;
}

export const get = (where, options) => ask("GET", where, undefined, options);
export const post = (where, body = {}, options) => ask("POST", where, body, options);
export const remove = (where, options) => ask("DELETE", where, undefined, options);

// The lines of a response as they come, without their ends.
export async function* lines(response) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	try {
		for (;;) {
			const {value, done} = await reader.read();
			if (done) break;
			const parts = (rest + value).split("\n");
			rest = parts.pop();
			for (const line of parts) yield line.endsWith("\r") ? line.slice(0, -1) : line;
		}
		if (rest) yield rest;
	} finally {
		reader.cancel().catch(() => {});
	}
}

// What a long work tells of itself while it goes on; its failure is raised.
export async function* news(where, body, options) {
	for await (const line of lines(await open("POST", where, body, options))) {
		const told = JSON.parse(line);
		if (told.type === "error") throw new Error(told.message);
		yield told;
	}
}

// Have the browser keep a file.  Where no key has to be sent it fetches that by itself, however large it is.
export async function download(name, where, method = "GET") {
	const itself = method === "GET" && !key.get();
	const url = itself ? new URL(where, ROOT) : URL.createObjectURL(await (await open(method, where)).blob());
	Object.assign(document.createElement("a"), {href: url, download: name}).click();
	if (!itself) setTimeout(URL.revokeObjectURL, 60000, url);
}

// Ask again and again: `look` asks, and `found` and `error` are of the newest question that was
// answered, whatever came in which order; `draw` is called when they change.
export function source(read, draw) {
	const it = {found: null, error: null, look};
	let asked = 0,
		known = 0;
	async function look() {
		const mine = ++asked;
		let news;
		try {
			news = {found: await read(), error: null};
		} catch (error) {
			if (error.name === "AbortError") return;
			news = {error};
		}
		if (mine < known) return;
		known = mine;
		Object.assign(it, news);
		draw();
	}
	return it;
}

// Server-sent events: {id, event, data}.
export async function* events(response) {
	let id = "",
		event = "",
		data = [];
	for await (const line of lines(response)) {
		if (line === "") {
			if (data.length) yield {id, event: event || "message", data: data.join("\n")};
			event = "";
			data = [];
			continue;
		}
		if (line.startsWith(":")) continue;
		const at = line.indexOf(":");
		const name = at < 0 ? line : line.slice(0, at);
		const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
		if (name === "data") data.push(value);
		else if (name === "event") event = value;
		else if (name === "id") id = value;
	}
}

// Follow a stream for as long as somebody looks: after a break it goes on behind the last event.
// `opened(response)` gets each new response and reads it; `state` hears "live", "broken" or an error.
export function follow(where, {accept = "text/event-stream", read, state = () => {}}) {
	let control = null,
		last = "",
		pause = 500,
		timer = 0,
		ended = false;
	const seen = id => {
		if (id) last = id;
	};
	async function run() {
		if (ended || control || document.hidden) return;
		const mine = (control = new AbortController());
		try {
			const headers = last ? {"Last-Event-ID": last} : {};
			const response = await open("GET", where, undefined, {signal: mine.signal, accept, headers});
			state("live");
			pause = 500;
			await read(response, seen);
		} catch (error) {
			if (error.name !== "AbortError") state(error.status ? error : "broken");
			if (error.status >= 400 && error.status < 500 && error.status !== 429) ended = true;
		}
		if (control === mine) control = null;
		if (ended || mine.signal.aborted) return;
		timer = setTimeout(run, pause);
		pause = Math.min(pause * 2, LONGEST_PAUSE);
	}
	function stop() {
		clearTimeout(timer);
		control?.abort();
		control = null;
	}
	const looked = () => (document.hidden ? stop() : run());
	document.addEventListener("visibilitychange", looked);
	run();
	return () => {
		ended = true;
		stop();
		document.removeEventListener("visibilitychange", looked);
	};
}

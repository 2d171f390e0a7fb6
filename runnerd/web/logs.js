// The logs of the daemon and its engines, as they come.
import {button, choice, filter, follow, get, h, heading, lines, nameOf, plural, query, SAID, short, show, trouble} from "./ui.js";

const MOST = 5000; // lines that are kept
const SHOWN = 1500; // of them in the page

export function logs(place) {
	let kept = [],
		wanted = "",
		level = "",
		from = "",
		paused = false,
		error = null,
		how = "connecting",
		stop = () => {},
		due = 0,
		fresh = [];
	let names = [],
		ended = false,
		begun = 0;
	const view = h("div.log", {role: "log", label: "Log", "aria-live": "off", tabindex: "0", own: true});
	const search = filter("Filter lines", text => {
		wanted = text;
		redraw();
	});
	const levels = choice(
		Object.entries({"": "All levels", warning: "Warnings and errors", error: "Errors"}),
		"",
		value => {
			level = value;
			redraw();
		},
		{label: "Level"}
	);

	const fits = line => (!wanted || line.text.toLowerCase().includes(wanted)) && (!level || line.level === "error" || line.level === level);
	const atEnd = () => view.scrollHeight - view.scrollTop - view.clientHeight < 40;
	const element = line =>
		h("div", {class: line.level === "error" ? "bad" : line.level === "warning" ? "warn" : line.engine ? "dim" : ""}, line.text);

	function redraw() {
		fresh = [];
		view.replaceChildren(...kept.filter(fits).slice(-SHOWN).map(element));
		view.scrollTop = view.scrollHeight;
		draw();
	}

	function add(text) {
		const line = parsed(text, kept.at(-1));
		kept.push(line);
		if (kept.length > MOST) kept.splice(0, kept.length - MOST);
		if (!paused && fits(line)) fresh.push(line);
		due = due || requestAnimationFrame(flush);
	}

	function flush() {
		due = 0;
		const stays = atEnd();
		view.append(...fresh.splice(0).slice(-SHOWN).map(element));
		while (view.children.length > SHOWN) view.firstChild.remove();
		if (stays) view.scrollTop = view.scrollHeight;
		draw();
	}

	function draw() {
		show(
			place,
			heading("Logs", h("span.muted", {role: "status"}, how === "live" ? (paused ? "Paused" : "Live") : (SAID[how] ?? ""))),
			error && trouble(error),
			h(
				"div.toolbar",
				search,
				levels,
				choice(
					[["", "Daemon and engines"], ...names.map(name => [name, short(name)])],
					from,
					value => {
						from = value;
						begin();
					},
					{key: `models-${names.length}`, label: "Model"}
				),
				button(
					paused ? "Go on" : "Pause",
					() => {
						paused = !paused;
						if (!paused) redraw();
						else draw();
					},
					{pressed: paused}
				),
				button("Clear", () => {
					kept = [];
					redraw();
				}),
				h("span.muted", plural(kept.length, "line"))
			),
			view
		);
	}

	function begin() {
		stop();
		const mine = ++begun; // what another stream still brings is not wanted
		kept = [];
		redraw();
		stop = follow(query("logs", {follow: "true", model: from}), {
			accept: "text/plain",
			async read(response) {
				kept = [];
				view.replaceChildren();
				for await (const line of lines(response)) {
					if (mine !== begun) return;
					add(line);
				}
			},
			state(said) {
				if (mine !== begun) return;
				error = said instanceof Error ? said : null;
				how = said instanceof Error ? "error" : said;
				draw();
			}
		});
	}

	begin();
	get("models").then(
		found => {
			names = found.map(nameOf).sort();
			if (!ended) draw();
		},
		() => {}
	);
	return () => {
		ended = true;
		begun++;
		stop();
		cancelAnimationFrame(due);
	};
}

// "2026-11-28 07:50:20.161 INFO runnerd.daemon: text" is the daemon's; what has no such head is an engine's,
// or goes on from the line before.
const HEAD = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*) (DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.-]+): /;

function parsed(text, before) {
	const head = HEAD.exec(text);
	if (head) return {text, level: head[2] === "CRITICAL" ? "error" : head[2].toLowerCase(), engine: false};
	if (/^\s/.test(text) && before) return {...before, text};
	return {text, level: /\b(error|failed|fatal)\b/i.test(text.slice(0, 200)) ? "error" : "info", engine: true};
}

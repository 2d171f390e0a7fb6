// What is loaded and loading, how much memory it takes, and what runs and waits.
import {
	actionsOf,
	amount,
	bytes,
	column,
	empty,
	facts,
	get,
	h,
	heading,
	live,
	missing,
	muted,
	number,
	reading,
	rows,
	seconds,
	section,
	short,
	sub,
	table,
	trouble,
	until,
	wide
} from "./ui.js";
import {transfers} from "./pulls.js";
import {modelOf, requestTable, runnerActions, runnerTitle, state} from "./requests.js";

export const overview = place => reading(place, {read: () => Promise.all([get("engines/status"), get("engines/df")]), content}).end;

function content(host) {
	const now = live.overview;
	if (!now) return [heading("Overview"), missing(live.error)];
	return [
		heading("Overview", muted(`runnerd ${now.version}`)),
		live.error && trouble(live.error),
		figures(now),
		section("Memory", h("div.devices", (now.devices || []).map(device))),
		section("Loaded models", runners(now)),
		now.transfers?.length > 0 && section("Pulls under way", h("div.panel", transfers())),
		now.queue?.models?.length > 0 &&
			section(
				"Waiting",
				rows("Waiting", now.queue.models, ["model", "mode", "waiting"], each => each.model + each.mode)
			),
		section(
			"Running requests",
			now.requests.length ? requestTable("Running requests", now.requests) : empty("No request is running"),
			now.running > now.requests.length && muted(`The oldest ${now.requests.length} of ${number(now.running)} are shown.`)
		),
		host && section("This host", h("div.panel", aboutHost(now, ...host)))
	];
}

const aboutHost = (now, engines, disk) =>
	facts([
		...Object.entries(engines),
		["Models take", bytes(disk.models_disk_usage)],
		["Engines take", bytes(disk.default_backend_disk_usage)],
		["Borrowed files", disk.borrowed_disk_usage ? bytes(disk.borrowed_disk_usage) : null],
		["They lie in", disk.state_dir && h("code", disk.state_dir)],
		["The daemon’s longest pause in a minute", seconds(now.loop_lag_seconds.worst)]
	]);

function figures(now) {
	const runners = now.runners || [];
	const sum = value => runners.reduce((all, each) => all + (value(each) || 0), 0);
	return facts(
		[
			["Models loaded", number(runners.filter(each => each.state === "ready" || each.state === "stopping").length)],
			["Requests running", number(now.running ?? 0)],
			["Waiting", number(now.queue?.waiting ?? 0)],
			["Slots used", `${number(sum(each => each.slots.used))} of ${number(sum(each => each.slots.all))}`],
			["Tokens per second", speedOf(now.tokens_per_second)]
		],
		"figures"
	);
}

function device(each) {
	const held = Math.min(each.held || 0, each.total);
	const reserved = Math.max(0, (each.reserved || 0) - held);
	const others = Math.max(0, Math.min(each.others ?? each.total - each.free - held, each.total - held - reserved));
	const parts = [
		["held", "Held by models", held],
		["reserved", "Reserved beyond that", reserved],
		["others", "Other programs", others]
	];
	const free = Math.max(0, each.total - held - reserved - others);
	const said = ([, name, size]) => `${name} ${bytes(size)}`,
		all = [...parts, ["", "Free", free]];
	return h(
		"div.panel.device",
		{key: each.id},
		h(
			"div.device-head",
			h("span.name", each.id === "ram" ? "RAM" : each.id, each.name && each.name.toLowerCase() !== each.id ? sub(each.name) : null),
			h("span.muted", bytes(each.total))
		),
		h(
			"div.meter",
			{role: "img", label: `${all.map(said).join(", ")}, of ${bytes(each.total)}`},
			parts.map(([kind, , size]) => h("span", {class: kind, style: {width: `${(100 * size) / each.total}%`}}))
		),
		h(
			"ul.legend",
			{"aria-hidden": "true"},
			all.map(part => h("li", h("i", {class: part[0]}), said(part)))
		)
	);
}

function slots({slots: {all, used}}) {
	if (!all) return used ? number(used) : "–";
	return h(
		"span",
		all <= 16 &&
			h(
				"span.slots",
				{"aria-hidden": "true"},
				Array.from({length: all}, (_, at) => h("i", {class: at < used ? "used" : ""}))
			),
		`${used} of ${all}`
	);
}

function memory(runner, kind) {
	const parts = Object.entries(runner.memory || {}).filter(([, sizes]) => sizes[kind] !== null);
	const one = parts.length === 1 && parts[0][0] === "ram";
	return parts.length
		? parts.map(([id, sizes]) => h("span.line", one ? bytes(sizes[kind]) : `${id === "ram" ? "RAM" : id} ${bytes(sizes[kind])}`))
		: "–";
}

function runners(now) {
	if (!now.runners?.length)
		return empty(
			"No model is loaded",
			"The first request for a model loads it. You can also ",
			h("a", {link: "models"}, "load one now"),
			"."
		);
	return table(
		"Loaded models",
		[
			wide("Model", each => [
				h("a.name", {link: ["models", modelOf(each)]}, runnerTitle(each)),
				each.mode !== "completion" && sub(each.mode),
				each.models.length > 1 &&
					sub(
						`also ${each.models
							.map(short)
							.filter(name => name !== runnerTitle(each))
							.join(", ")}`
					),
				each.failure && h("span.sub.bad-text", each.failure, each.retry ? ` It is tried again ${until(each.retry)}.` : "")
			]),
			column("State", state),
			column("Slots used", slots),
			amount("Waiting", "waiting"),
			amount("Tokens/s", each => speedOf(each.tokens_per_second)),
			amount("Context", "context"),
			amount("Held", each => memory(each, "held")),
			amount("Reserved", each => memory(each, "reserved")),
			column("Unloads", each =>
				each.state === "failed" ? "–" : each.pinned ? "never, pinned" : each.requests ? "in use" : until(each.expires)
			),
			actionsOf(runnerActions)
		],
		now.runners,
		each => `${each.id || each.models.join()}${each.mode}`
	);
}

const speedOf = value => (value === null ? "–" : number(value >= 100 ? Math.round(value) : Number(value.toFixed(1))));

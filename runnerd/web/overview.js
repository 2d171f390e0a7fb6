// What is loaded and loading, how much memory it takes, and what runs and waits.
import {path, post, remove} from "./api.js";
import {h, show} from "./dom.js";
import {bytes, clock, number, plural, seconds, short, until} from "./format.js";
import {live, nudge, watch} from "./live.js";
import {
	actionsOf,
	button,
	chip,
	confirm,
	doing,
	empty,
	heading,
	muted,
	section,
	sub,
	table,
	trouble
} from "./widgets.js";

export function overview(place) {
	const draw = () => show(place, content());
	draw();
	return watch(draw);
}

function content() {
	const now = live.overview;
	if (!now) return [heading("Overview"), live.error ? trouble(live.error) : muted("Loading…")];
	return [
		heading("Overview"),
		live.error && trouble(live.error),
		figures(now),
		section("Memory", h("div", {class: "devices"}, (now.devices || []).map(device))),
		section("Loaded models", runners(now)),
		now.queue?.models?.length ? section("Waiting", waiting(now.queue.models)) : null,
		section(
			"Running requests",
			running(now.requests || []),
			now.running > now.requests.length &&
				muted(`The oldest ${now.requests.length} of ${number(now.running)} are shown.`)
		)
	];
}

function figures(now) {
	const runners = now.runners || [];
	const sum = value => runners.reduce((all, each) => all + (value(each) || 0), 0);
	const speed = sum(each => each.tokens_per_second);
	const pairs = [
		["Models loaded", number(runners.filter(each => each.state === "ready" || each.state === "stopping").length)],
		["Requests running", number(now.running ?? 0)],
		["Waiting", number(now.queue?.waiting ?? 0)],
		["Slots used", `${number(sum(each => each.slots.used))} of ${number(sum(each => each.slots.all))}`],
		["Tokens per second", speedOf(speed)]
	];
	return h(
		"dl",
		{class: "figures"},
		pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))
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
	const said = parts.map(([, name, size]) => `${name} ${bytes(size)}`).join(", ");
	return h(
		"div",
		{class: "panel device", key: each.id},
		h(
			"div",
			{class: "device-head"},
			h(
				"span",
				{class: "name"},
				each.id === "ram" ? "RAM" : each.id,
				each.name && each.name.toLowerCase() !== each.id ? sub(each.name) : null
			),
			h("span", {class: "muted"}, bytes(each.total))
		),
		h(
			"div",
			{class: "meter", role: "img", "aria-label": `${said}, free ${bytes(free)}, of ${bytes(each.total)}`},
			parts.map(([kind, , size]) => h("span", {class: kind, style: {width: `${(100 * size) / each.total}%`}}))
		),
		h(
			"ul",
			{class: "legend", "aria-hidden": "true"},
			[...parts, ["", "Free", free]].map(([kind, name, size]) =>
				h("li", {}, h("i", {class: kind}), `${name} ${bytes(size)}`)
			)
		)
	);
}

const STATES = {
	ready: ["Ready", "good"],
	starting: ["Loading", "warn"],
	stopping: ["Stopping", ""],
	failed: ["Failed", "bad"],
	defunct: ["Ended", "bad"]
};

export function state(runner) {
	const [text, kind] = STATES[runner.state] || [runner.state, ""];
	return chip(text, kind);
}

function slots({slots: {all, used}}) {
	if (!all) return used ? number(used) : "–";
	return h(
		"span",
		{},
		all <= 16 &&
			h(
				"span",
				{class: "slots", "aria-hidden": "true"},
				Array.from({length: all}, (_, at) => h("i", {class: at < used ? "used" : ""}))
			),
		`${used} of ${all}`
	);
}

function memory(runner, kind) {
	const parts = Object.entries(runner.memory || {}).filter(([, sizes]) => sizes[kind] !== null);
	const one = parts.length === 1 && parts[0][0] === "ram";
	return parts.length
		? parts.map(([id, sizes]) =>
				h("span", {class: "line"}, one ? bytes(sizes[kind]) : `${id === "ram" ? "RAM" : id} ${bytes(sizes[kind])}`)
			)
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
			{
				title: "Model",
				wide: true,
				cell: each => [
					h("a", {class: "name", link: `models/${encodeURIComponent(nameOf(each))}`}, titleOf(each)),
					each.mode !== "completion" && sub(each.mode),
					each.models.length > 1 &&
						sub(
							`also ${each.models
								.map(short)
								.filter(name => name !== titleOf(each))
								.join(", ")}`
						),
					each.failure &&
						h(
							"span",
							{class: "sub bad-text"},
							each.failure,
							each.retry ? ` It is tried again ${until(each.retry)}.` : ""
						)
				]
			},
			{title: "State", cell: state},
			{title: "Slots used", cell: slots},
			{title: "Waiting", number: true, cell: each => number(each.waiting)},
			{title: "Tokens/s", number: true, cell: each => speedOf(each.tokens_per_second)},
			{title: "Context", number: true, cell: each => number(each.context)},
			{title: "Held", number: true, cell: each => memory(each, "held")},
			{title: "Reserved", number: true, cell: each => memory(each, "reserved")},
			{
				title: "Unloads",
				cell: each =>
					each.state === "failed" ? "–" : each.pinned ? "never, pinned" : each.requests ? "in use" : until(each.expires)
			},
			actionsOf(
				each =>
					manages() && [
						button(
							each.pinned ? "Unpin" : "Pin",
							event =>
								doing(
									event,
									() => pin(each),
									`${titleOf(each)} is ${each.pinned ? "not pinned any more" : "pinned: it stays loaded"}`
								),
							{kind: "small", pressed: each.pinned, name: `${each.pinned ? "Unpin" : "Pin"} ${titleOf(each)}`}
						),
						each.state !== "failed" &&
							button(
								"Unload",
								event => unload(event, nameOf(each), titleOf(each), each.requests + each.waiting, each.backend),
								{kind: "small", name: `Unload ${titleOf(each)}`}
							)
					]
			)
		],
		now.runners,
		each => `${each.id || each.models.join()}${each.mode}`
	);
}

const speedOf = value => (value === null ? "–" : number(value >= 100 ? Math.round(value) : Number(value.toFixed(1))));

const nameOf = runner => runner.models[0] || runner.model;

// What a runner is called: its first client's word, which may be a digest.
export const titleOf = runner => short(runner.model.startsWith("sha256:") ? nameOf(runner) : runner.model);

const manages = () => live.me?.may.some(name => name === "superuser" || name === "unload_llm");

async function pin(runner) {
	await post(`models/${path(nameOf(runner))}/configure`, {
		pinned: !runner.pinned,
		mode: runner.mode,
		backend: runner.backend
	});
	nudge("runner", 0);
}

// Stop a model's runners; those in use only if somebody says so.
export async function unload(event, model, name, inUse, backend) {
	const force =
		inUse > 0 &&
		(await confirm(
			`Unload ${name}?`,
			`${plural(inUse, "request")} use it or wait for it. They would end with an error.`,
			"Unload anyway"
		));
	if (inUse > 0 && !force) return;
	await doing(
		event,
		async () => {
			const done = await post("engines/unload", {models: [model], force, backend});
			nudge("runner", 0);
			if (!done.unloaded_runners)
				throw new Error(done.runners_in_use ? `${name} is in use; nothing was unloaded.` : `${name} was not loaded.`);
		},
		`${name} is unloaded`
	);
}

function waiting(list) {
	return table(
		"Waiting",
		[
			{title: "Model", wide: true, cell: each => h("span", {class: "name"}, short(each.model))},
			{title: "Mode", cell: each => each.mode},
			{title: "Requests", number: true, cell: each => number(each.waiting)}
		],
		list,
		each => each.model + each.mode
	);
}

function running(list) {
	if (!list.length) return empty("No request is running");
	return table(
		"Running requests",
		[
			{
				title: "Model",
				wide: true,
				cell: each => [h("span", {class: "name"}, short(each.model) || "–"), sub(each.operation)]
			},
			{title: "From", wide: true, cell: each => [each.user || each.principal || "–", each.origin && sub(each.origin)]},
			{title: "Began", cell: each => clock(each.started)},
			{title: "So far", number: true, cell: each => seconds(each.seconds)},
			{title: "State", cell: each => chip(each.state, each.state === "running" ? "good" : "warn")},
			actionsOf(each => [
				button("Cancel", event => cancel(event, each), {kind: "small", name: `Cancel request ${each.id}`})
			])
		],
		list,
		each => each.id
	);
}

export function cancel(event, request) {
	return doing(
		event,
		async () => {
			await remove(`runnerd/requests/${path(request.id)}`);
			nudge("request", 0);
		},
		"The request is cancelled"
	);
}

// Pulls: a form to begin one, and all that are under way.  A pull belongs to the daemon and goes on
// when this page is left; it is ended with its Cancel button alone.
import {get, lines, open, path, remove} from "./api.js";
import {h} from "./dom.js";
import {bytes, seconds, short} from "./format.js";
import {ask, told} from "./fit.js";
import {button, doing, field, input, tell} from "./widgets.js";

const EVERY = 1000; // milliseconds between looks while there are some
export function pulls(changed) {
	let running = [],
		fitting = null,
		timer = 0,
		before = new Map(),
		ended = false;
	const reference = input({
		id: "pull-model",
		name: "reference",
		required: true,
		"aria-describedby": "pull-help",
		placeholder: "ai/smollm2 or hf.co/ORG/REPO:Q4_K_M"
	});
	const tag = input({name: "tag", placeholder: "as it was asked for", maxlength: 300});
	const revision = input({name: "revision", placeholder: "main"});
	const sha256 = input({name: "sha256", class: "mono", placeholder: "64 hexadecimal digits"});

	async function look() {
		clearTimeout(timer);
		if (ended) return;
		try {
			running = await get("models/pulls");
		} catch {
			running = [];
		}
		const now = performance.now();
		for (const each of running) {
			const last = before.get(each.id);
			if (last && now > last.at + 500)
				each.speed = Math.max(0, ((each.current - last.current) / (now - last.at)) * 1000);
			if (!last || now > last.at + 500) before.set(each.id, {at: now, current: each.current});
		}
		changed();
		if (running.length) timer = setTimeout(look, EVERY);
	}

	// What the model would need, before a byte of its weights is fetched.
	function lookAhead(event) {
		const name = reference.value.trim();
		if (!name) {
			reference.focus();
			return;
		}
		doing(event, async () => {
			fitting = await ask(name);
			changed();
		});
	}

	function begin(event) {
		event.preventDefault();
		const asked = {from: reference.value.trim()};
		if (tag.value.trim()) asked.tag = tag.value.trim();
		if (revision.value.trim()) asked.revision = revision.value.trim();
		if (sha256.value.trim()) asked.sha256 = sha256.value.trim();
		if (!asked.from) return;
		doing({currentTarget: event.target.querySelector("[type=submit]")}, async () => {
			const response = await open("POST", "models/create", asked);
			reference.value = "";
			fitting = null;
			await first(response, asked.from);
			look();
		});
	}

	// A pull that is complete at once says so; of the others the daemon's events tell.
	async function first(response, name) {
		for await (const line of lines(response)) {
			const news = JSON.parse(line);
			if (news.type === "success") tell(`${short(name)}: ${news.message}`, "good");
			if (news.type === "error") tell(`${short(name)}: ${news.message}`, "bad");
			return;
		}
	}

	const content = () => [
		h(
			"form",
			{class: "form", on: {submit: begin}},
			h(
				"div",
				{class: "field"},
				h("label", {for: "pull-model"}, "Model"),
				h(
					"div",
					{class: "composer-row"},
					reference,
					h(
						"div",
						{class: "actions"},
						button("Does it fit?", lookAhead),
						button("Pull", null, {kind: "primary", type: "submit"})
					)
				),
				h(
					"p",
					{class: "help", id: "pull-help"},
					"From a registry, from Hugging Face (hf.co/ORG/REPO:QUANT), or an https address of a GGUF file."
				)
			),
			h(
				"details",
				{},
				h("summary", {}, "More"),
				h(
					"div",
					{class: "form-grid"},
					field("Call it", tag),
					field("Revision", revision, "Of a Hugging Face repository."),
					field("SHA-256", sha256, "Of the file behind an address.")
				)
			)
		),
		fitting && h("div", {class: "section form", role: "status"}, told(fitting)),
		running.length ? h("div", {class: "section", "aria-label": "Pulls under way"}, running.map(row)) : null
	];

	function row(each) {
		const left = each.speed > 0 && each.total ? `, ${seconds((each.total - each.current) / each.speed)} left` : "";
		const sizes = each.total ? `${bytes(each.current)} of ${bytes(each.total)}` : bytes(each.current || 0);
		return h(
			"div",
			{class: "progress-row", key: each.id},
			h(
				"div",
				{},
				h("span", {class: "name"}, short(each.model)),
				h("span", {class: "sub"}, `${each.kind}, ${sizes}${each.speed ? `, ${bytes(each.speed)}/s${left}` : ""}`)
			),
			button(
				"Cancel",
				event =>
					doing(event, async () => {
						await remove(`models/pulls/${path(each.id)}`);
						look();
					}),
				{kind: "small", name: `Cancel the ${each.kind} of ${short(each.model)}`}
			),
			h("progress", {
				max: each.total || 1,
				value: each.total ? each.current : undefined,
				"aria-label": `Progress of ${short(each.model)}`
			})
		);
	}

	look();
	return {
		content,
		look: kinds => {
			if (kinds.has("transfer")) look();
		},
		end: () => {
			ended = true;
			clearTimeout(timer);
		}
	};
}

// Pulls: a form to begin one, and all that are under way.  A pull belongs to the daemon and goes on
// when this page is left; it is ended with its Cancel button alone.
import {get, lines, open, path, remove} from "./api.js";
import {el, h} from "./dom.js";
import {bytes, seconds, short} from "./format.js";
import {ask, told} from "./fit.js";
import {hubSearch} from "./hub_search.js";
import {act, button, doing, field, fold, form, input, tell} from "./widgets.js";

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
	const name = input({name: "tag", placeholder: "as it was asked for", maxlength: 300});
	const commit = input({name: "revision", placeholder: "main"});
	const digest = input({name: "sha256", class: "mono", placeholder: "64 hexadecimal digits"});

	const hub = hubSearch(from => start({from}), changed);

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
		const [from, tag, revision, sha256] = [reference, name, commit, digest].map(each => each.value.trim() || undefined);
		const asked = {from, tag, revision, sha256};
		if (!asked.from) return;
		doing(event, async () => {
			await start(asked);
			reference.value = "";
			fitting = null;
		});
	}

	async function start(asked) {
		await first(await open("POST", "models/create", asked), asked.from);
		look();
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
		form(
			"form.form",
			begin,
			el(
				"div.field",
				h("label", {for: "pull-model"}, "Model"),
				el(
					"div.composer-row",
					reference,
					el("div.actions", button("Does it fit?", lookAhead), button("Pull", null, {kind: "primary", type: "submit"}))
				),
				h(
					"p.help",
					{id: "pull-help"},
					"From a registry, from Hugging Face (hf.co/ORG/REPO:QUANT), or an https address of a GGUF file."
				)
			),
			fold(
				"More",
				el(
					"div.form-grid",
					field("Call it", name),
					field("Revision", commit, "Of a Hugging Face repository."),
					field("SHA-256", digest, "Of the file behind an address.")
				)
			)
		),
		fitting && h("div.form", {role: "status"}, told(fitting)),
		h("div.form", {key: "hub"}, hub()),
		running.length ? h("div", {"aria-label": "Pulls under way"}, running.map(row)) : null
	];

	function row(each) {
		const left = each.speed > 0 && each.total ? `, ${seconds((each.total - each.current) / each.speed)} left` : "";
		const sizes = each.total ? `${bytes(each.current)} of ${bytes(each.total)}` : bytes(each.current || 0);
		return h(
			"div.progress-row",
			{key: each.id},
			el(
				"div",
				el("span.name", short(each.model)),
				el("span.sub", `${each.kind}, ${sizes}${each.speed ? `, ${bytes(each.speed)}/s${left}` : ""}`)
			),
			act("Cancel", `Cancel the ${each.kind} of ${short(each.model)}`, () =>
				remove(`models/pulls/${path(each.id)}`).then(look)
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

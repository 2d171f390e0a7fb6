// Pulls: a form to begin one, and all that are under way.  A pull belongs to the daemon and goes on
// when this page is left; it is ended with its Cancel button alone.
import {
	act,
	button,
	bytes,
	doing,
	field,
	fold,
	form,
	h,
	input,
	lines,
	live,
	nudge,
	open,
	path,
	progress,
	remove,
	seconds,
	short,
	submit,
	tell
} from "./ui.js";
import {ask, told} from "./fit.js";
import {hubSearch} from "./hub_search.js";
import {importing} from "./importing.js";

const seen = new Map(); // by transfer: how far it was at the last two looks, and how quick it is

// The transfers that are under way, with their speed; null without any.
export function transfers() {
	const running = live.overview?.transfers || [];
	for (const id of seen.keys()) if (!running.some(each => each.id === id)) seen.delete(id);
	return running.length ? h("div", {label: "Pulls under way"}, running.map(row)) : null;
}

function speedOf({id, current}) {
	const now = performance.now(),
		last = seen.get(id);
	if (!last || now > last.at + 500)
		seen.set(id, {at: now, current, speed: last && Math.max(0, ((current - last.current) / (now - last.at)) * 1000)});
	return seen.get(id).speed;
}

function row(each) {
	const {id, kind, model, current, total} = each,
		name = short(model),
		speed = speedOf(each);
	const left = speed && total ? `, ${seconds((total - current) / speed)} left` : "";
	return progress(
		id,
		name,
		`${kind}, ${total ? `${bytes(current)} of ${bytes(total)}` : bytes(current)}${speed ? `, ${bytes(speed)}/s${left}` : ""}`,
		{current, total},
		act("Cancel", `the ${kind} of ${name}`, () => remove(`models/pulls/${path(id)}`).then(() => nudge("transfer", 0)))
	);
}

export function pulls(changed) {
	let fitting = null;
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
	const hub = hubSearch(from => start({from}), changed),
		files = importing(changed);

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
		if (!from) return;
		doing(event, async () => {
			await start({from, tag, revision, sha256});
			if (reference.value.trim() === from) reference.value = "";
			fitting = null;
		});
	}

	// A pull that is complete at once says so; of the others the daemon's events tell.
	async function start(asked) {
		for await (const line of lines(await open("POST", "models/create", asked))) {
			const {type, message} = JSON.parse(line);
			if (type === "success") tell(`${short(asked.from)}: ${message}`, "good");
			if (type === "error") tell(`${short(asked.from)}: ${message}`, "bad");
			break;
		}
		nudge("transfer", 0);
	}

	return () => [
		form(
			"form.form",
			begin,
			h(
				"div.field",
				h("label", {for: "pull-model"}, "Model"),
				h("div.composer-row", reference, h("div.actions", button("Does it fit?", lookAhead), submit("Pull"))),
				h("p.help", {id: "pull-help"}, "From a registry, from Hugging Face (hf.co/ORG/REPO:QUANT), or an https address of a GGUF file.")
			),
			fold(
				"More",
				h(
					"div.form-grid",
					field("Call it", name),
					field("Revision", commit, "Of a Hugging Face repository."),
					field("SHA-256", digest, "Of the file behind an address.")
				)
			)
		),
		fitting && h("div.form", {role: "status"}, told(fitting)),
		h("div.form", {key: "hub"}, hub()),
		h("div.form", {key: "files"}, files()),
		transfers()
	];
}

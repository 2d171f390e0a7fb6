// Models that are got: pulled, or taken in from the host's disk.  A pull belongs to the daemon and goes on
// when this page is left; it is ended with its Cancel button alone.
import {
	act,
	actionsOf,
	amount,
	button,
	bytes,
	check,
	doing,
	field,
	fold,
	form,
	get,
	grid,
	h,
	input,
	line,
	live,
	muted,
	news,
	nudge,
	owns,
	path,
	progress,
	query,
	remove,
	seconds,
	short,
	small,
	source,
	sub,
	submit,
	table,
	tell,
	trouble,
	wide
} from "./ui.js";
import {ask, told} from "./fit.js";
import {catalog, hubSearch, logins} from "./elsewhere.js";

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
	const begun = from => start({from}),
		more = [hubSearch(begun, changed), importing(changed), catalog(begun, changed), logins(changed)];

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
		for await (const {type, message} of news("models/create", asked)) {
			if (type === "success") tell(`${short(asked.from)}: ${message}`, "good");
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
				grid(
					field("Call it", name),
					field("Revision", commit, "Of a Hugging Face repository."),
					field("SHA-256", digest, "Of the file behind an address.")
				)
			)
		),
		fitting && h("div.form", {role: "status"}, told(fitting)),
		more.map((each, at) => h("div.form", {key: `more-${at}`}, each())),
		transfers()
	];
}

// By file, what is taken in now: it goes on while other views are looked at.
const taking = new Map();

function importing(draw) {
	const where = input({placeholder: "/srv/models or /srv/models/some.gguf", maxlength: 4000}),
		name = input({placeholder: "after its file", maxlength: 300}),
		borrow = check("Use the files where they lie: nothing is copied, and they must stay there");
	const now = source(async () => (where.value.trim() ? get(query("runnerd/files", {path: where.value.trim()})) : null), draw);

	async function take({file, mmproj, size_bytes: total}) {
		const control = new AbortController(),
			layers = {},
			asked = {path: file, borrow: borrow.firstChild.checked, mmproj: mmproj || undefined};
		const state = {current: 0, total, control};
		if (now.found.length === 1) asked.tag = name.value.trim() || undefined;
		taking.set(file, state);
		draw();
		try {
			for await (const {type, message, layer, model} of news(`models/import`, asked, {signal: control.signal})) {
				if (type === "success") tell(`${short(model.tags[0])}: ${message}`, "good");
				layers[layer.id] = layer.current;
				state.current = Object.values(layers).reduce((sum, each) => sum + each);
				draw();
			}
		} finally {
			taking.delete(file);
			draw();
		}
	}

	const found = () =>
		table(
			"Models in the folder",
			[
				wide("Model", each => [h("span.name", each.model), sub(each.file)]),
				amount("Size", "size_bytes", bytes),
				actionsOf(each => [act("Import", each.model, () => take(each), undefined, {disabled: taking.has(each.file)})])
			],
			now.found,
			each => each.file
		);

	return () =>
		owns() && [
			fold(
				"From this host’s disk",
				h(
					"div.form",
					line(now.look, "Look", field("File or folder", where)),
					now.error && [
						trouble(now.error),
						now.error.status === 403 && muted("It takes the page that runnerd ui opens, as root or as the daemon’s user.")
					],
					!now.error && now.found && [now.found.length === 1 && field("Call it", name), borrow, found()]
				)
			),
			[...taking].map(([file, state]) =>
				progress(
					file,
					file,
					`import, ${bytes(state.current)} of ${bytes(state.total)}`,
					state,
					small("Cancel", `the import of ${file}`, () => state.control.abort())
				)
			)
		];
}

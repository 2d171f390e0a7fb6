// What memory a model takes, and how it is configured.
import {
	amount,
	area,
	bytes,
	check,
	chip,
	choice,
	doing,
	field,
	forgotten,
	form,
	get,
	grid,
	h,
	input,
	line,
	linesOf,
	missing,
	muted,
	nameOf,
	nudge,
	number,
	parsed,
	path,
	post,
	query,
	record,
	source,
	submit,
	table,
	titleOf,
	trouble,
	wide,
	words
} from "./ui.js";

const WORDS = {now: ["fits now", "good"], evicting: ["others make room", "warn"], no: ["does not fit", "bad"]};

export const ask = (model, said = {}) => get(query("runnerd/fit", {model, ...said}));

export const verdict = found => {
	const [text, kind] = WORDS[found.fits] || [found.fits, ""];
	return chip(text, kind);
};

// What is known of a model, with its numbers; `said` are those that were asked for.
export function told(found) {
	return [
		h("p", verdict(found), " ", found.sentence),
		record(found, "model", "fits", "sentence", "need", "longest_beside", "devices", "here", found.here && "bytes"),
		found.devices.length > 0 &&
			table(
				"Memory that is needed",
				[
					wide("Device", each => (each.id === "ram" ? "RAM" : each.id)),
					amount("Needed", "need", bytes),
					amount("Free beside others", "room", bytes),
					amount("At most", "most", bytes)
				],
				found.devices
			)
	];
}

// The same for a model of the store, with other numbers to be tried.
export function fit(model, draw) {
	const name = nameOf(model);
	const context = input({type: "number", min: 1, step: 1, placeholder: "as configured"});
	const parallel = input({type: "number", min: 1, step: 1, placeholder: "as configured"});

	const now = source(() => ask(name, {here: "true", context: context.value, parallel: parallel.value}), draw);
	now.look();
	return {
		content: () =>
			h(
				"div.panel.form",
				now.error && trouble(now.error),
				now.found ? told(now.found) : !now.error && muted("Reckoning…"),
				line(now.look, "Reckon", field("With a context of", context), field("With requests at a time", parallel))
			)
	};
}

// How long the context of each model can be, asked for one after the other, once.
const longest = new Map();
let asking = false;
forgotten.add(() => longest.clear());

export async function reckon(models, changed) {
	if (asking) return;
	asking = true;
	try {
		for (const each of models.filter(model => !longest.has(model.id))) {
			longest.set(each.id, null);
			try {
				longest.set(each.id, await ask(nameOf(each), {here: "true"}));
			} catch (failure) {
				if (failure.status === 404 || !failure.status) longest.delete(each.id);
				if (!failure.status) return;
			}
			changed();
		}
	} finally {
		asking = false;
	}
}

export function fits(model) {
	const found = longest.get(model.id);
	if (!found) return "–";
	return found.longest_context ? `up to ${number(found.longest_context)} tokens` : chip("does not fit", "bad");
}

// How a model is loaded, kept and asked: a form made of the daemon's own schema, so that every field
// that there is has its place here, with its help.

const GROUPS = {starting: "How it is started (takes effect when it is loaded anew)", keeping: "How it is kept", asking: "How it is asked"};

let known = null; // the schema, which stays the same as long as the daemon runs

export function configuration(model, draw) {
	let wanted = "completion";
	const now = source(async () => {
		const mode = wanted;
		known = known || (await get("runnerd/configuration/schema"));
		const all = await get(query("engines/_configure", {model: model.id}));
		const mine = all.find(each => each.Mode === mode);
		const force = check("Also what is unwise, or cannot be loaded here");
		return {mode, force, controls: controlsOf(known, mine?.Config || {})};
	}, draw);

	async function save() {
		const {mode, force, controls} = now.found,
			changes = {};
		if (mode !== wanted) throw new Error("The mode’s configuration is not here yet.");
		for (const control of controls) {
			const value = control.read();
			if (JSON.stringify(value) !== control.before) changes[control.name] = value;
		}
		if (!Object.keys(changes).length) throw new Error("Nothing was changed.");
		await post(`models/${path(model.id)}/configure`, {...changes, mode, force: force.firstChild.checked || undefined});
		for (const control of controls) if (control.name in changes) control.before = JSON.stringify(changes[control.name]);
		nudge("models", 0);
	}

	const modes = choice(
		["completion", "embedding", "reranking"].map(mode => [mode, words(mode)]),
		wanted,
		value => {
			wanted = value;
			now.look();
		}
	);
	now.look();
	return {
		content: () => {
			if (!now.found) return missing(now.error);
			const {force, controls} = now.found;
			return form(
				"form.panel.form",
				event => doing(event, save, `${titleOf(model)} is configured`),
				grid(field("Mode", modes, "Each mode has a configuration of its own; one without takes completion's.")),
				Object.entries(GROUPS).map(([group, title]) =>
					h(
						"details.panel",
						{open: group === "starting" && innerWidth > 736},
						h("summary", title),
						grid(controls.filter(control => control.group === group).map(control => control.element))
					)
				),
				h("div.actions", submit("Save"), force)
			);
		}
	};
}

function controlsOf(schema, values) {
	return Object.entries(schema.properties).map(([name, about]) => {
		const control = controlOf(name, about, values[name], schema.$defs || {});
		return {name, group: about.group || "starting", before: JSON.stringify(control.read()), ...control};
	});
}

// What a field takes: the branch of its schema that is not null, with references looked up.
function resolved(about, defs) {
	const branches = (about.anyOf || [about]).filter(each => each.type !== "null");
	const one = branches.length === 1 ? branches[0] : {anyOf: branches};
	const ref = one.$ref || (one.allOf?.length === 1 && one.allOf[0].$ref);
	return ref ? defs[ref.split("/").pop()] : one;
}

function controlOf(name, about, value, defs) {
	const kind = resolved(about, defs),
		help = about.description || kind.description;
	if (kind.type === "object" && kind.properties) return group(name, help, kind, value, defs);
	const preset = about.default ?? "",
		said = Array.isArray(preset) ? preset.join(", ") : String(preset);
	// Empty is the default, which the daemon calls null.
	const simple = (control, parse = text => text) => ({
		name,
		element: field(name, control, help),
		read: () => (control.value.trim() === "" ? null : parse(control.value))
	});
	const placeholder = said ? `default: ${said}` : "default";
	if (kind.type === "boolean") {
		const unsaid = said ? `default (${preset ? "yes" : "no"})` : "default";
		return simple(choice(Object.entries({"": unsaid, true: "yes", false: "no"}), String(value ?? "")), text => text === "true");
	}
	if (kind.enum) return simple(choice([["", "default"], ...kind.enum], value ?? ""));
	if (kind.type === "integer" || kind.type === "number") {
		const {minimum: min, maximum: max} = kind,
			step = kind.type === "integer" ? 1 : "any";
		return simple(input({type: "number", step, placeholder, value: value ?? "", min, max}), Number);
	}
	if (kind.type === "string") return simple(input({value: value ?? "", placeholder, maxlength: kind.maxLength}));
	if (kind.type === "array" && kind.items?.type === "string")
		return simple(area({placeholder: "one on each line", value: (value || []).join("\n")}), linesOf);
	const json = text => {
		try {
			return parsed(text, name);
		} catch (failure) {
			if (kind.anyOf?.some(each => each.type === "string")) return text.trim();
			throw failure;
		}
	};
	return simple(area({placeholder: "JSON", value: (value ?? null) === null ? "" : JSON.stringify(value)}), json);
}

function group(name, help, kind, value, defs) {
	const parts = Object.entries(kind.properties).map(([part, about]) => controlOf(part, about, value?.[part], defs));
	const read = () => {
		const said = Object.fromEntries(parts.map(part => [part.name, part.read()]).filter(([, each]) => each !== null));
		return Object.keys(said).length ? said : null;
	};
	const element = h("fieldset.group", h("legend", name), help && h("p.help", help), grid(parts.map(part => part.element)));
	return {name, element, read};
}

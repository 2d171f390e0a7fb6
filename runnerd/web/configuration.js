// How a model is loaded, kept and asked: a form made of the daemon's own schema, so that every field
// that there is has its place here, with its help.
import {
	area,
	check,
	choice,
	doing,
	field,
	form,
	get,
	h,
	input,
	linesOf,
	missing,
	nudge,
	parsed,
	path,
	post,
	source,
	submit,
	titleOf
} from "./ui.js";

const GROUPS = [
	["starting", "How it is started (takes effect when it is loaded anew)"],
	["keeping", "How it is kept"],
	["asking", "How it is asked"]
];

let known = null; // the schema, which stays the same as long as the daemon runs

export function configuration(model, draw) {
	let wanted = "completion";
	const now = source(async () => {
		const mode = wanted;
		known = known || (await get("runnerd/configuration/schema"));
		const all = await get(`engines/_configure?${new URLSearchParams({model: model.id})}`);
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
		[
			["completion", "Completion"],
			["embedding", "Embedding"],
			["reranking", "Reranking"]
		],
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
				h("div.form-grid", field("Mode", modes, "Each mode has a configuration of its own; one without takes completion's.")),
				GROUPS.map(([group, title]) =>
					h(
						"details.panel",
						{open: group === "starting" && innerWidth > 736},
						h("summary", title),
						h(
							"div.form-grid",
							controls.filter(control => control.group === group).map(control => control.element)
						)
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

const same = text => text;

function controlOf(name, about, value, defs) {
	const kind = resolved(about, defs),
		help = about.description || kind.description;
	if (kind.type === "object" && kind.properties) return group(name, help, kind, value, defs);
	const preset = about.default ?? "",
		said = Array.isArray(preset) ? preset.join(", ") : String(preset);
	const field = (control, parse = same) => simple(name, help, control, parse);
	const placeholder = said ? `default: ${said}` : "default";
	if (kind.type === "boolean") {
		const unsaid = said ? `default (${preset ? "yes" : "no"})` : "default";
		const options = [
			["", unsaid],
			["true", "yes"],
			["false", "no"]
		];
		return field(choice(options, String(value ?? "")), text => text === "true");
	}
	if (kind.enum) return field(choice([["", "default"], ...kind.enum], value ?? ""));
	if (kind.type === "integer" || kind.type === "number") {
		const {minimum: min, maximum: max} = kind,
			step = kind.type === "integer" ? 1 : "any";
		return field(input({type: "number", step, placeholder, value: value ?? "", min, max}), Number);
	}
	if (kind.type === "string") return field(input({value: value ?? "", placeholder, maxlength: kind.maxLength}));
	if (kind.type === "array" && kind.items?.type === "string")
		return field(area({placeholder: "one on each line", value: (value || []).join("\n")}), linesOf);
	const json = text => {
		try {
			return parsed(text, name);
		} catch (failure) {
			if (kind.anyOf?.some(each => each.type === "string")) return text.trim();
			throw failure;
		}
	};
	return field(area({placeholder: "JSON", value: (value ?? null) === null ? "" : JSON.stringify(value)}), json);
}

// Empty is the default, which the daemon calls null.
function simple(name, help, control, parse) {
	return {name, element: field(name, control, help), read: () => (control.value.trim() === "" ? null : parse(control.value))};
}

function group(name, help, kind, value, defs) {
	const parts = Object.entries(kind.properties).map(([part, about]) => controlOf(part, about, value?.[part], defs));
	const read = () => {
		const said = Object.fromEntries(parts.map(part => [part.name, part.read()]).filter(([, each]) => each !== null));
		return Object.keys(said).length ? said : null;
	};
	const element = h(
		"fieldset.group",
		h("legend", name),
		help && h("p.help", help),
		h(
			"div.form-grid",
			parts.map(part => part.element)
		)
	);
	return {name, element, read};
}

// How a model is loaded, kept and asked: a form made of the daemon's own schema, so that every field
// that there is has its place here, with its help.
import {get, path, post} from "./api.js";
import {h} from "./dom.js";
import {short} from "./format.js";
import {nudge} from "./live.js";
import {button, choice, doing, field, input, missing} from "./widgets.js";

const GROUPS = [
	["starting", "How it is started (takes effect when it is loaded anew)"],
	["keeping", "How it is kept"],
	["asking", "How it is asked"]
];

let known = null; // the schema, which stays the same as long as the daemon runs

export function configuration(model, draw) {
	let controls = null,
		error = null,
		mode = "completion",
		force = null;

	async function look() {
		try {
			known = known || (await get("runnerd/configuration/schema"));
			const all = await get(`engines/_configure?${new URLSearchParams({model: model.id})}`);
			const mine = all.find(each => each.Mode === mode);
			controls = controlsOf(known, mine?.Config || {});
			force = h("input", {type: "checkbox", id: "configuration-force"});
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	function save(event) {
		event.preventDefault();
		doing(
			{currentTarget: event.target.querySelector("[type=submit]")},
			async () => {
				const changes = {};
				for (const control of controls) {
					const value = control.read();
					if (JSON.stringify(value) !== control.before) changes[control.name] = value;
				}
				if (!Object.keys(changes).length) throw new Error("Nothing was changed.");
				if (force.checked) changes.force = true;
				await post(`models/${path(model.id)}/configure`, {...changes, mode});
				for (const control of controls)
					if (control.name in changes) control.before = JSON.stringify(changes[control.name]);
				nudge("models", 0);
			},
			`${short(model.tags[0]) || "The model"} is configured`
		);
	}

	const modes = choice(
		[
			["completion", "Completion"],
			["embedding", "Embedding"],
			["reranking", "Reranking"]
		],
		mode,
		{
			on: {
				change: event => {
					mode = event.target.value;
					look();
				}
			}
		}
	);
	look();
	return {
		content: () => {
			if (!controls) return missing(error);
			return h(
				"form",
				{class: "panel form", on: {submit: save}},
				h(
					"div",
					{class: "form-grid"},
					field("Mode", modes, "Each mode has a configuration of its own; one without takes completion's.")
				),
				GROUPS.map(([group, title]) =>
					h(
						"details",
						{class: "panel", open: group === "starting" && innerWidth > 736},
						h("summary", {}, title),
						h(
							"div",
							{class: "form-grid"},
							controls.filter(control => control.group === group).map(control => control.element)
						)
					)
				),
				h(
					"div",
					{class: "actions"},
					button("Save", null, {kind: "primary", type: "submit"}),
					h("label", {class: "check"}, force, "Also what is unwise, or cannot be loaded here")
				)
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
	const kind = resolved(about, defs);
	const help = about.description || kind.description;
	if (kind.type === "object" && kind.properties) return group(name, help, kind, value, defs);
	const said =
		about.default === undefined || about.default === null || (Array.isArray(about.default) && !about.default.length)
			? ""
			: String(about.default);
	if (kind.type === "boolean") {
		const word = yes => (yes ? "yes" : "no");
		return simple(
			name,
			help,
			choice(
				[
					["", `default${said ? ` (${word(said === "true")})` : ""}`],
					["true", "yes"],
					["false", "no"]
				],
				value === undefined || value === null ? "" : String(value)
			),
			text => text === "true"
		);
	}
	if (kind.enum) return simple(name, help, choice([["", "default"], ...kind.enum], value ?? ""), text => text);
	if (kind.type === "integer" || kind.type === "number") {
		const limits = {min: kind.minimum, max: kind.maximum};
		return simple(
			name,
			help,
			input({
				type: "number",
				step: kind.type === "integer" ? 1 : "any",
				placeholder: said ? `default: ${said}` : "default",
				value: value ?? "",
				...limits
			}),
			Number
		);
	}
	if (kind.type === "string")
		return simple(
			name,
			help,
			input({value: value ?? "", placeholder: said ? `default: ${said}` : "default", maxlength: kind.maxLength}),
			text => text
		);
	if (kind.type === "array" && kind.items?.type === "string") {
		return simple(
			name,
			help,
			h("textarea", {
				rows: 2,
				class: "mono",
				placeholder: "one on each line",
				spellcheck: "false",
				value: (value || []).join("\n")
			}),
			text =>
				text
					.split("\n")
					.map(line => line.trim())
					.filter(Boolean)
		);
	}
	return simple(
		name,
		help,
		h("textarea", {
			rows: 2,
			class: "mono",
			placeholder: "JSON",
			spellcheck: "false",
			value: value === undefined || value === null ? "" : JSON.stringify(value)
		}),
		text => {
			try {
				return JSON.parse(text);
			} catch (failure) {
				if (kind.anyOf?.some(each => each.type === "string")) return text.trim();
				throw new Error(`${name} is no JSON: ${failure.message}`);
			}
		}
	);
}

// Empty is the default, which the daemon calls null.
function simple(name, help, control, parse) {
	return {
		name,
		element: field(name, control, help),
		read: () => (control.value.trim() === "" ? null : parse(control.value))
	};
}

function group(name, help, kind, value, defs) {
	const parts = Object.entries(kind.properties).map(([part, about]) => controlOf(part, about, value?.[part], defs));
	const read = () => {
		const said = Object.fromEntries(parts.map(part => [part.name, part.read()]).filter(([, each]) => each !== null));
		return Object.keys(said).length ? said : null;
	};
	const element = h(
		"fieldset",
		{class: "group"},
		h("legend", {}, name),
		help && h("p", {class: "help"}, help),
		h(
			"div",
			{class: "form-grid"},
			parts.map(part => part.element)
		)
	);
	return {name, element, read};
}

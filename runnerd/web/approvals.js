// What users ask the owner for; and for users, what they have asked for.
import {get, path, post} from "./api.js";
import {h, show} from "./dom.js";
import {clock, short} from "./format.js";
import {live, watch} from "./live.js";
import {
	actionsOf,
	button,
	chip,
	choice,
	dialog,
	doing,
	empty,
	field,
	footer,
	heading,
	input,
	muted,
	section,
	sub,
	table,
	trouble
} from "./widgets.js";

export const PERMISSIONS = {
	session: "use models",
	view_llms: "see models and what is loaded",
	load_llm: "load models",
	unload_llm: "unload models",
	download_llm: "pull models",
	request_download: "ask for downloads",
	request_load: "ask for loads",
	request_unload: "ask for unloads",
	bare_model: "use engines themselves",
	superuser: "everything"
};

export function approvals(place) {
	let found = null,
		error = null;
	const decides = () => live.me?.may.includes("superuser");
	const asks = () => live.me?.kind === "user" && !decides();

	async function look() {
		try {
			found = await get("runnerd/approvals");
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	function draw() {
		const open = (found || []).filter(each => each.state === "pending");
		const over = (found || []).filter(each => each.state !== "pending");
		show(
			place,
			heading("Approvals", asks() && button("Ask for something", () => ask(look), {kind: "primary"})),
			error && (error.status === 401 ? empty("Requests to the owner are a user’s", error.message) : trouble(error)),
			!found
				? !error && muted("Loading…")
				: [
						section(
							"Waiting for a decision",
							open.length
								? list(open)
								: empty("Nothing waits for a decision", "Users can ask for permissions, downloads, loads and unloads.")
						),
						over.length ? section("Decided", list(over)) : null
					]
		);
	}

	const list = rows =>
		table(
			"Requests to the owner",
			[
				{
					title: "What",
					wide: true,
					cell: each => [
						h("span", {class: "name"}, what(each)),
						each.reason && sub(`“${each.reason}”`),
						each.failure && h("span", {class: "sub bad-text"}, `The last try failed: ${each.failure}`)
					]
				},
				{title: "Who", wide: true, cell: each => each.user},
				{title: "Asked", cell: each => clock(each.created)},
				{
					title: "State",
					cell: each =>
						chip(each.working ? "being done" : each.state, {accepted: "good", rejected: "bad"}[each.state] || "warn")
				},
				{
					title: "Decided by",
					wide: true,
					cell: each => (each.decided_by ? [each.decided_by, sub(clock(each.decided))] : "–")
				},
				actionsOf(each =>
					each.state === "pending" && decides()
						? [
								button("Accept", event => decide(event, each, "accept"), {
									kind: "small primary",
									disabled: each.working,
									name: `Accept: ${each.user}, ${what(each)}`
								}),
								button("Reject", event => decide(event, each, "reject"), {
									kind: "small",
									disabled: each.working,
									name: `Reject: ${each.user}, ${what(each)}`
								})
							]
						: null
				)
			],
			rows,
			each => each.id
		);

	const decide = (event, each, decision) =>
		doing(
			event,
			async () => {
				await post(`runnerd/approvals/${path(each.id)}/${decision}`);
				await look();
			},
			decision === "accept" ? "Accepted" : "Rejected"
		);

	draw();
	look();
	return watch(kinds => {
		if (kinds.has("approval") || kinds.has("all")) look();
		else draw();
	});
}

function what(each) {
	const asked = each.request || {};
	if (each.type === "permissions") return `Permissions: ${(asked.may || []).join(", ")}`;
	const name = short(asked.model);
	return `${{download: "Download", load: "Load", unload: "Unload"}[each.type] || each.type} ${name}${asked.revision ? ` (revision ${asked.revision})` : ""}`;
}

async function ask(done) {
	const kind = choice(
		[
			["download", "A download"],
			["load", "A load"],
			["unload", "An unload"],
			["permissions", "Permissions"]
		],
		"download"
	);
	const model = input({placeholder: "ai/smollm2 or hf.co/ORG/REPO:Q4_K_M"});
	const may = h(
		"div",
		{class: "form"},
		Object.entries(PERMISSIONS).map(([name, meaning]) =>
			h(
				"label",
				{class: "check"},
				h("input", {type: "checkbox", name, checked: live.me.may.includes(name)}),
				`${name}: ${meaning}`
			)
		)
	);
	const reason = input({maxlength: 500});
	const models = field("Model", model),
		permissions = h("fieldset", {}, h("legend", {}, "Permissions, in the place of those you have"), may);
	const arrange = () => {
		permissions.hidden = kind.value !== "permissions";
		models.hidden = kind.value === "permissions";
	};
	kind.addEventListener("change", arrange);
	arrange();
	await dialog("Ask the owner", close => [
		field("What for", kind),
		models,
		permissions,
		field("Why", reason),
		footer(
			close,
			"Ask",
			async () => {
				const said = {type: kind.value, reason: reason.value.trim()};
				if (kind.value === "permissions") said.may = [...may.querySelectorAll("input:checked")].map(each => each.name);
				else said.model = model.value.trim();
				await post("runnerd/approvals", said);
				close();
				done();
			},
			"The owner is asked"
		)
	]);
}

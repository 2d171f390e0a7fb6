// What can be done with runners and requests: load, unload, pin, cancel; and what state they are in.
import {act, chip, inUse, live, nameOf, nudge, path, plural, post, remove, short, titleOf} from "./ui.js";

const STATES = {
	ready: ["Ready", "good"],
	starting: ["Loading", "warn"],
	stopping: ["Stopping", ""],
	failed: ["Failed", "bad"],
	defunct: ["Ended", "bad"]
};

export const state = runner => chip(...(STATES[runner.state] || [runner.state]));

export const load = (model, kind = "primary") =>
	act(
		"Load",
		titleOf(model),
		async () => {
			nudge("runner", 300);
			await post("engines/load", {models: [nameOf(model)]});
			nudge("runner", 0);
		},
		`${titleOf(model)} is loaded`,
		{kind}
	);

// Stop a model's runners; those in use only if somebody says so.
const unloadAs = (id, name, uses, backend, kind) =>
	act(
		"Unload",
		name,
		async () => {
			const done = await post("engines/unload", {models: [id], force: uses > 0, backend});
			nudge("runner", 0);
			if (!done.unloaded_runners)
				throw new Error(done.runners_in_use ? `${name} is in use; nothing was unloaded.` : `${name} was not loaded.`);
		},
		`${name} is unloaded`,
		{
			kind,
			sure: uses > 0 && [
				`Unload ${name}?`,
				`${plural(uses, "request")} use it or wait for it. They would end with an error.`,
				"Unload anyway"
			]
		}
	);

export const unload = (model, runners, kind) => unloadAs(model.id, titleOf(model), inUse(runners), undefined, kind);

// What a runner's model is called: to be asked for, and by its first client's word, which may be a digest.
export const modelOf = runner => runner.models[0] || runner.model;
export const runnerTitle = runner => short(runner.model.startsWith("sha256:") ? modelOf(runner) : runner.model);

// What there is to be done with one that is loaded.
export function runnerActions(runner) {
	if (!live.me?.may.some(name => name === "superuser" || name === "unload_llm")) return [];
	const name = runnerTitle(runner),
		{pinned, mode, backend} = runner;
	return [
		act(
			pinned ? "Unpin" : "Pin",
			name,
			async () => {
				await post(`models/${path(modelOf(runner))}/configure`, {pinned: !pinned, mode, backend});
				nudge("runner", 0);
			},
			`${name} is ${pinned ? "not pinned any more" : "pinned: it stays loaded"}`,
			{pressed: pinned}
		),
		runner.state !== "failed" && unloadAs(modelOf(runner), name, inUse([runner]), backend, "small")
	];
}

export const cancel = request =>
	act(
		"Cancel",
		`request ${request.id}`,
		async () => {
			await remove(`runnerd/requests/${path(request.id)}`);
			nudge("request", 0);
		},
		"The request is cancelled"
	);

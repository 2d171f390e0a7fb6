// What a program does with pantry-rs, from the first registration to an interruption; what it got
// is the last line of its output, as JSON.  Arguments: the address of a model, and that of a server
// ("-" for where pantry-rs looks by itself).

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use pantry_rs::interface::{
    LLMConnectorType, LLMEventInternal, LLMRegistryEntry, UserPermissions, UserRequestStatus,
};
use pantry_rs::{LLMFilter, PantryClient, PantryError};
use serde_json::{json, Value};
use uuid::Uuid;

fn permissions() -> UserPermissions {
    UserPermissions {
        perm_superuser: false,
        perm_load_llm: true,
        perm_unload_llm: true,
        perm_download_llm: true,
        perm_session: true,
        perm_request_download: true,
        perm_request_load: true,
        perm_request_unload: true,
        perm_view_llms: true,
        perm_bare_model: true,
    }
}

fn entry(url: &str) -> LLMRegistryEntry {
    LLMRegistryEntry {
        id: "demo".into(),
        family_id: "llama".into(),
        organization: "tests".into(),
        name: "Demo".into(),
        license: "".into(),
        description: "".into(),
        homepage: "".into(),
        capabilities: HashMap::from([("general".into(), 2), ("painting".into(), 7)]),
        tags: vec!["small".into()],
        requirements: "".into(),
        backend_uuid: "".into(),
        url: url.into(),
        config: HashMap::from([("model_architecture".into(), json!("llama"))]),
        local: true,
        connector_type: LLMConnectorType::LLMrs,
        parameters: HashMap::new(),
        user_parameters: vec!["max_tokens".into(), "temperature".into()],
        session_parameters: HashMap::new(),
        user_session_parameters: vec!["system_prompt".into()],
    }
}

// Ask until the owner has decided.
async fn decided(
    client: &PantryClient,
    asked: UserRequestStatus,
) -> Result<UserRequestStatus, PantryError> {
    println!("ASKED {}", asked.id);
    let mut status = asked;
    while !status.complete {
        tokio::time::sleep(Duration::from_millis(50)).await;
        status = client.get_request_status(status.id).await?;
    }
    Ok(status)
}

fn filter(uuid: Uuid) -> Option<LLMFilter> {
    Some(LLMFilter {
        llm_uuid: Some(uuid),
        llm_id: None,
        family_id: Some("llama".into()),
        local: Some(true),
        minimum_capabilities: None,
    })
}

async fn run(url: String, server: Option<String>) -> Result<Value, PantryError> {
    let (client, asked) = PantryClient::register("a program".into(), permissions(), server).await?;
    let refused = match client.get_available_llms().await {
        Err(PantryError::ApiError(status, text)) => json!([status.as_u16(), text]),
        other => json!(format!("{other:?}")),
    };
    let accepted = decided(&client, asked).await?.accepted;

    let wanted = client.request_download_llm(entry(&url)).await?;
    let downloaded = decided(&client, wanted).await?.accepted;
    let uuid = client.download_llm(entry(&url)).await?;
    let mut progress = vec![];
    let status = client.await_download(uuid, |each| progress.push(each)).await?;
    let known = client.get_or_download_llm(entry(&url)).await?; // either of the two
    let known = client.llm_status(known).await?.url == url;

    let wanted = client.request_load_llm_flex(filter(uuid), None).await?;
    let loaded = decided(&client, wanted).await?.accepted;
    let running = client.load_llm_flex(filter(uuid), None).await?.llm_info.running;
    let (_, path) = client.bare_model(uuid.to_string()).await?;

    let session = client.create_session_id(uuid, HashMap::new()).await?;
    let mut stream = session
        .prompt_session("Hello".into(), HashMap::from([("max_tokens".into(), json!(5))]))
        .await?;
    let (mut pieces, mut text, mut ended) = (0, String::new(), String::new());
    while let Some(event) = stream.next().await {
        match event.event {
            LLMEventInternal::PromptProgress { previous, next } => {
                assert_eq!(previous, text);
                text += &next;
                pieces += 1;
            }
            LLMEventInternal::PromptCompletion { previous } => ended = previous,
            other => ended = format!("{other:?}"),
        }
    }

    let mut stream = session.prompt_session("And then".into(), HashMap::new()).await?;
    let first = stream.next().await.is_some();
    let interrupted = session.interrupt_session().await?.uuid;
    let mut last = None;
    while let Some(event) = stream.next().await {
        last = Some(event.event);
    }
    let completed = matches!(last, Some(LLMEventInternal::PromptCompletion { .. }));
    let unloaded = client.unload_llm(uuid.to_string()).await?.running;
    Ok(json!({
        "refused": refused, "accepted": accepted, "downloaded": downloaded, "loaded": loaded,
        "capabilities": status.capabilities.len(), "progress": progress.last(),
        "known": known, "running": running, "path": path, "pieces": pieces,
        "same": text == ended, "first": first, "interrupted": interrupted == uuid.to_string(),
        "completed": completed, "unloaded": !unloaded, "available":
        client.get_available_llms().await?.len(),
    }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the address of a model");
    let server = arguments.next().filter(|each| each != "-");
    match run(url, server).await {
        Ok(found) => println!("{found}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

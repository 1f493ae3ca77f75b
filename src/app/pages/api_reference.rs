//! `/api/docs`: the API, for people to read, with an example of every call. Made from the OpenAPI document.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_meta::Title;

use super::{page, tab};
use crate::service::ServiceError;
use crate::settings::Settings;
use crate::view::{Answer, ApiReference, Body, Field, Group, Operation, Shape, Word};

/// The API reference.
#[component]
pub fn ApiReferencePage() -> impl IntoView {
    let reference = use_context::<Arc<ApiReference>>();
    let address = use_context::<Arc<Settings>>().map(|settings| settings.public_url());
    view! {
        <Title text=tab("API") />
        {page(move |_| async move {
            let reference = reference.ok_or_else(|| {
                ServiceError::NotFound("This server has no description of its API.".to_owned())
            })?;
            Ok(draw(&reference, &address.unwrap_or_default()))
        })}
    }
}

fn draw(reference: &ApiReference, address: &str) -> AnyView {
    let settings = format!("export LONGHAUL_SERVER={address}\nexport LONGHAUL_TOKEN=…");
    view! {
        <div class="headline">
            <div>
                <p>
                    <a href="/admin/jobs">"Jobs"</a>
                    " / API"
                </p>
                <h1>"API reference"</h1>
                <p>
                    "Version " {reference.version.clone()} ". For programs: the "
                    <a href="/api/openapi.json">"OpenAPI document"</a> "."
                </p>
            </div>
        </div>
        <div class="reference">
            <nav class="card" aria-label="Operations">
                {reference.groups.iter().map(contents).collect_view()}
                <p>
                    <a href="#refusals">"Refusals"</a>
                </p>
                <p>
                    <a href="#shapes">"Shapes"</a>
                </p>
            </nav>
            <div class="stack">
                <section class="card prose" aria-labelledby="about">
                    <h2 id="about">"What holds for all of it"</h2>
                    {paragraphs(&reference.intro)}
                    <p>"The examples take the server and a token from the environment:"</p>
                    <pre>
                        <code>{settings}</code>
                    </pre>
                </section>
                {reference.groups.iter().map(group).collect_view()}
                <section class="card prose" aria-labelledby="refusals">
                    <h2 id="refusals">"Refusals"</h2>
                    <p>"What any operation may be refused for, where it has a number of these among its answers:"</p>
                    {answers(&reference.refusals)}
                </section>
                <section class="stack" aria-labelledby="shapes">
                    <h2 id="shapes">"Shapes"</h2>
                    {reference.shapes.iter().map(shape).collect_view()}
                </section>
            </div>
        </div>
    }
    .into_any()
}

fn contents(group: &Group) -> impl IntoView + use<> {
    let operations = group.operations.iter().map(|operation| {
        view! {
            <li>
                <a href=format!("#{}", operation.id)>{operation.summary.clone()}</a>
            </li>
        }
    });
    view! {
        <p>
            <a href=format!("#{}", group.name)>{capitalised(&group.name)}</a>
        </p>
        <ul>{operations.collect_view()}</ul>
    }
}

fn group(group: &Group) -> impl IntoView + use<> {
    view! {
        <section class="stack" aria-labelledby=group.name.clone()>
            <div class="prose">
                <h2 id=group.name.clone()>{capitalised(&group.name)}</h2>
                {paragraphs(&group.description)}
            </div>
            {group.operations.iter().map(operation).collect_view()}
        </section>
    }
}

fn operation(operation: &Operation) -> impl IntoView + use<> {
    let shared = (!operation.shared.is_empty()).then(|| {
        let statuses = operation.shared.join(", ");
        view! { <p class="sub">"Also " {statuses} ": see " <a href="#refusals">"Refusals"</a> "."</p> }
    });
    let method = operation.method;
    view! {
        <article class="card operation" aria-labelledby=operation.id.clone()>
            <header>
                <h3 id=operation.id.clone()>
                    <a href=format!("#{}", operation.id)>{operation.summary.clone()}</a>
                </h3>
                <p class="mono">
                    <b class=format!("method {}", method.to_lowercase())>{method}</b>
                    " "
                    {breakable(&operation.path)}
                </p>
            </header>
            <div class="prose">
                {paragraphs(&operation.description)}
                {(!operation.parameters.is_empty()).then(|| view! { <h4>"Parameters"</h4> {fields(&operation.parameters)} })}
                {operation.body.as_ref().map(body)}
                <h4>"Answers"</h4>
                {answers(&operation.answers)}
                {shared}
                <h4>"Example"</h4>
                <pre>
                    <code>{operation.example.clone()}</code>
                </pre>
            </div>
        </article>
    }
}

fn body(body: &Body) -> impl IntoView + use<> {
    view! {
        <h4>"Body"</h4>
        <p>{kind(&body.kind)} {(!body.required).then_some(", or nothing")}</p>
    }
}

fn shape(shape: &Shape) -> impl IntoView + use<> {
    let anchor = format!("shape-{}", shape.name);
    let labelled = anchor.clone();
    view! {
        <article class="card operation" aria-labelledby=labelled>
            <header>
                <h3 id=anchor>
                    <code>{shape.name.clone()}</code>
                </h3>
            </header>
            <div class="prose">
                {paragraphs(&shape.description)} {shape.kind.as_ref().map(|kinds| view! { <p>{kind(kinds)}</p> })}
                {(!shape.fields.is_empty()).then(|| fields(&shape.fields))}
            </div>
        </article>
    }
}

fn fields(fields: &[Field]) -> impl IntoView + use<> {
    let rows = fields.iter().map(|field| {
        let place = field.place.clone().map(|place| format!(" in the {place}"));
        let rules = field.rules.iter().map(|rule| view! { ", " {marked(rule)} }).collect_view();
        view! {
            <div>
                <dt>
                    <code>{field.name.clone()}</code>
                    <span class="sub">
                        {kind(&field.kind)} {place} {rules}
                        {field.required.then(|| view! { ", " <b>"required"</b> })}
                    </span>
                </dt>
                <dd>{marked(&field.description)}</dd>
            </div>
        }
    });
    view! { <dl class="fields">{rows.collect_view()}</dl> }
}

fn answers(answers: &[Answer]) -> impl IntoView + use<> {
    let rows = answers.iter().map(|answer| {
        let headers = answer.headers.iter().map(|(name, what)| {
            view! {
                <br />
                "Header "
                <code>{name.clone()}</code>
                ": "
                {marked(what)}
                "."
            }
        });
        let headers = headers.collect_view();
        view! {
            <div>
                <dt>
                    <code>{answer.status.clone()}</code>
                    <span class="sub">{answer.kind.as_ref().map(|words| kind(words))}</span>
                </dt>
                <dd>{marked(&answer.description)} {headers}</dd>
            </div>
        }
    });
    view! { <dl class="fields">{rows.collect_view()}</dl> }
}

fn kind(kind: &[Word]) -> impl IntoView + use<> {
    let words = kind.iter().map(|word| match word {
        Word::Text(text) => text.clone().into_any(),
        Word::Exactly(word) => view! { <code>{word.clone()}</code> }.into_any(),
        Word::Shape(name) => view! { <a href=format!("#shape-{name}")>{name.clone()}</a> }.into_any(),
    });
    words.collect_view()
}

fn paragraphs(text: &str) -> impl IntoView + use<> {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| view! { <p>{marked(paragraph)}</p> }).collect_view()
}

/// A text of the document, with `code` and **what is bold** set so: it has no other marks.
fn marked(text: &str) -> impl IntoView + use<> {
    let parts = text.split('`').enumerate().map(|(place, part)| {
        if place % 2 == 1 {
            return view! { <code>{part.to_owned()}</code> }.into_any();
        }
        let plain = part.split("**").enumerate().map(|(place, part)| match place % 2 {
            1 => view! { <b>{part.to_owned()}</b> }.into_any(),
            _ => part.to_owned().into_any(),
        });
        plain.collect_view().into_any()
    });
    parts.collect_view()
}

/// A path that may be broken before each of its parts.
fn breakable(path: &str) -> impl IntoView + use<> {
    let parts = path.split_inclusive('/').map(|part| {
        view! {
            {part.to_owned()}
            <wbr />
        }
    });
    parts.collect_view()
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

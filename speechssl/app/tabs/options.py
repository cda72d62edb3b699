"""The options of a conversion on the page: presets that a person saves, and settings that are kept with a voice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from speechssl.app import fields
from speechssl.app.handlers import targets, voices
from speechssl.app.handlers.conversions import Options
from speechssl.app.markup import html
from speechssl.app.refusals import Refused
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import QUIET, Page, TargetFields
from speechssl.checkpoints import names
from speechssl.conversion import converters
from speechssl.errors import InputError
from speechssl.voices.notes import SETTINGS, Notes

LONGEST = 20_000  # characters of all presets
Settings = dict[str, str]


@dataclass(frozen=True, eq=False)
class OptionFields:
    """The options of a conversion.

    Args:
        components: by the name of the option.
        numbers: sliders for a number instead of a choice, by the name of the option.
        problem: a line for errors.
        note: says which settings are in use.
    """

    components: dict[str, Any]
    numbers: dict[str, Any]
    problem: Any
    note: Any

    @property
    def inputs(self) -> set[Any]:
        """The components that an event reads."""
        return {*self.components.values(), *self.numbers.values()}

    def read(self, values: Mapping[Any, Any]) -> Options:
        """Return the options.

        Raises:
            Refused: the pitch is no number.
        """
        return fields.options_of(self._given(values))

    def settings(self, values: Mapping[Any, Any]) -> Settings:
        """The settings that differ from the defaults, as texts."""
        defaults = {one.name: one.default for one in fields.OPTIONS}
        given = self._given(values)
        return {name: f"{given[name]:g}" if isinstance(given[name], int | float) else given[name]
                for name in SETTINGS if given[name] != defaults[name]}  # fmt: skip

    def show(self, settings: Mapping[str, str]) -> dict[Any, Any]:
        """Updates that show settings; the default where there is none, or one that this page does not offer."""
        found: dict[Any, Any] = {}
        for one in fields.OPTIONS:
            if one.name in SETTINGS:
                value, number = one.shown(settings.get(one.name))
                component = self.components[one.name]
                found[component] = gr.update(value=value if parts.is_possible(component, value) else one.default)
                if number is not None:
                    found[self.numbers[one.name]] = gr.update(value=number)
        return found

    @property
    def shown(self) -> list[Any]:
        """The components that ``show`` updates."""
        return [*(self.components[name] for name in SETTINGS), *self.numbers.values()]

    def _given(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        chosen = {name: values[component] for name, component in self.components.items()}
        numbers = {name: values[self.numbers[name]] for name in self.numbers if chosen[name] == fields.NUMBER}
        return {**chosen, **{name: f"{number:g}" for name, number in numbers.items()}}


def option_fields(page: Page, key: str, target: TargetFields) -> OptionFields:
    """Show the options of a conversion; ``target`` is the voice that settings can be kept with."""
    known = {one.name: one for one in fields.OPTIONS}
    helps = {"auto": converters.AUTO, **{name: row.help for name, row in converters.TABLE.items()}}
    more: dict[str, dict[str, Any]] = {
        "model": {"models": page.state.settings.models},
        "converter": {"info": helps["auto"]},
    }
    components, numbers = {}, {}
    with gr.Accordion("Options", open=False):
        saved = _saved(key)
        for name in ("pitch", "tempo", "loudness", "interpolation", "form", "k", "converter", "model"):
            components[name] = known[name].for_page(key, **more.get(name, {}))
            if known[name].scale:
                numbers[name] = known[name].number_for_page(key)
                components[name].change(None, components[name], numbers[name], js=_SHOWN_FOR_A_NUMBER, **QUIET)
        kept = gr.Button("Keep these settings for this voice", size="sm", elem_id=f"{key}-keep")
    page.keep(*components.values(), *numbers.values())
    converter = components["converter"]
    converter.change(lambda name: gr.update(info=helps[name]), converter, converter, **QUIET)
    # outside the accordion: an error in a closed one would be hidden
    made = OptionFields(components, numbers, parts.problem(f"{key}-options-problem"), parts.problem(f"{key}-settings"))
    _presets(page, made, *saved)
    _settings_of_voices(page, made, target, kept)
    return made


_SHOWN_FOR_A_NUMBER = f"(chosen) => ({{__type__: 'update', visible: chosen === '{fields.NUMBER}'}})"


# ---- presets


def _saved(key: str) -> tuple[Any, Any, Any]:
    with gr.Row(elem_classes="bottom"):
        preset = gr.Dropdown([], value=None, label="Preset", allow_custom_value=True, elem_id=f"{key}-preset", scale=3,
                             elem_classes=parts.NAMES,
                             info="Choose one, or write a name and save the options below under it.")  # fmt: skip
        save = gr.Button("Save", size="sm", min_width=60, scale=1, elem_id=f"{key}-preset-save")
        forget = gr.Button("Forget", size="sm", min_width=60, scale=1, elem_id=f"{key}-preset-forget")
    return preset, save, forget


def _presets(page: Page, options: OptionFields, preset: Any, save: Any, forget: Any) -> None:
    kept, answering = page.presets, parts.answering(page.state, {}, options.problem)

    @answering
    def on_choose(name: str | None, text: str) -> dict[Any, Any]:
        found = presets_in(text)
        return {options.problem: "", **(options.show(found[name]) if name in found else {})}

    @answering
    def on_save(values: dict[Any, Any]) -> dict[Any, Any]:
        with_name = {names.checked(values[preset] or "", "a preset"): options.settings(values)}
        text = json.dumps({**presets_in(values[kept]), **with_name}, ensure_ascii=False)
        if len(text) > LONGEST:
            raise Refused("options", "No more presets fit in here; forget one first.")
        return {options.problem: "", kept: text, preset: gr.update(value=next(iter(with_name)))}

    @answering
    def on_forget(name: str | None, text: str) -> dict[Any, Any]:
        found = presets_in(text)
        found.pop(name or "", None)
        return {options.problem: "", kept: json.dumps(found, ensure_ascii=False), preset: gr.update(value=None)}

    preset.input(on_choose, [preset, kept], [options.problem, *options.shown], **QUIET)
    save.click(on_save, {preset, kept, *options.inputs}, [options.problem, kept, preset], **QUIET)
    forget.click(on_forget, [preset, kept], [options.problem, kept, preset], **QUIET)
    kept.change(lambda text: gr.update(choices=list(presets_in(text))), kept, preset, **QUIET)


def presets_in(text: str | None) -> dict[str, Settings]:
    """The presets that a browser kept, by name; those that cannot be are left out."""
    try:
        found = dict(json.loads(text or "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    presets = {}
    for name, settings in found.items():
        try:
            presets[names.checked(name, "a preset")] = dict(Notes().with_settings(settings).settings)
        except (InputError, ValueError, TypeError):
            continue
    return presets


# ---- settings that are kept with a voice


def _settings_of_voices(page: Page, options: OptionFields, target: TargetFields, keep: Any) -> None:
    """Use the settings of a voice once it is chosen, and those from before once another one is."""
    store, before = page.state.store, gr.State(None)

    def on_voice(values: dict[Any, Any], request: gr.Request) -> dict[Any, Any]:
        name, earlier = values[target.voice], values[before]
        library = store.library(page.session(request).user)
        stored = bool(name) and not targets.is_bundled(name) and name in library
        if settings := library.show(name).notes.settings if stored else {}:
            was = options.settings(values) if earlier is None else earlier
            return {**options.show(settings), before: was, options.note: _note(name, settings)}
        return {**({} if earlier is None else options.show(earlier)), before: None, options.note: ""}

    @parts.answering(page.state, {}, options.problem)
    def on_keep(values: dict[Any, Any], request: gr.Request) -> dict[Any, Any]:
        name, settings = values[target.voice], options.settings(values)
        if values[target.kind] != parts.LISTED or not name or targets.is_bundled(name):
            raise Refused("options", "Settings are kept with a stored voice: store this one in the tab Voices first.")
        user = page.session(request).user
        voices.note(store, user, name, lambda notes: notes.with_settings(settings))
        return {options.problem: "", options.note: _note(name, settings), before: {}, **page.shelved(user)}

    inputs = {target.voice, before, *options.inputs}
    chosen = (on_voice, inputs, [before, options.note, *options.shown])
    target.voice.input(*chosen, **QUIET)
    page.chosen.append(chosen)
    page.uses[:] = page.uses or [target.kind, target.voice, target.problem, chosen]
    keep.click(on_keep, {target.kind, *inputs}, [options.problem, options.note, before, *page.shelf], **QUIET)


def _note(name: str, settings: Mapping[str, str]) -> str:
    said = voices.in_words(settings) or "the usual ones"
    return html('<p class="small" role="status">Settings of {}: {}.</p>', name, said)

"""Windows: a task that starts when the person logs on ([MS-TSCH], Task Scheduler 1.2 schema)."""

from __future__ import annotations

import getpass
import ntpath
import subprocess
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .plan import Plan, Words

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def task_scheduler(name: str, words: Words, home: Path) -> Plan:
    """Started when the person logs on, with their rights and no more, and again when it fails."""
    path = home / "AppData" / "Local" / name / f"{name}.xml"
    return Plan(
        path=path,
        # schtasks reads UTF-16.
        content=tostring(_task(words), encoding="utf-16", xml_declaration=True),
        install=(
            ("schtasks", "/Create", "/F", "/TN", name, "/XML", str(path)),
            ("schtasks", "/Run", "/TN", name),
        ),
        remove=(("schtasks", "/End", "/TN", name), ("schtasks", "/Delete", "/F", "/TN", name)),
        see=f"schtasks /Query /V /FO LIST /TN {name}",
    )


def _task(words: Words) -> Element:
    program, *arguments = words
    task = Element("Task", version="1.2", xmlns=NAMESPACE)
    trigger = SubElement(SubElement(task, "Triggers"), "LogonTrigger")
    _add(trigger, "Enabled", "true")
    _add(trigger, "UserId", getpass.getuser())
    principal = SubElement(SubElement(task, "Principals"), "Principal", id="Author")
    _add(principal, "UserId", getpass.getuser())
    _add(principal, "LogonType", "InteractiveToken")
    _add(principal, "RunLevel", "LeastPrivilege")
    settings = SubElement(task, "Settings")
    _add(settings, "MultipleInstancesPolicy", "IgnoreNew")
    _add(settings, "DisallowStartIfOnBatteries", "false")
    _add(settings, "StopIfGoingOnBatteries", "false")
    _add(settings, "ExecutionTimeLimit", "PT0S")
    restart = SubElement(settings, "RestartOnFailure")
    _add(restart, "Interval", "PT1M")
    _add(restart, "Count", "255")
    command = SubElement(SubElement(task, "Actions", Context="Author"), "Exec")
    _add(command, "Command", _without_window(program))
    _add(command, "Arguments", subprocess.list2cmdline(arguments))
    indent(task)
    return task


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text


def _without_window(program: str) -> str:
    """The same Python without a console window, which would stay open."""
    folder, name = ntpath.split(program)
    return ntpath.join(folder, "pythonw.exe") if name.lower() == "python.exe" else program

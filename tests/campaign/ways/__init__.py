"""The ways into the library, one kind a file; importing this registers all of them."""

from campaign.ways import commands, configs, data, models, own_tasks, parts, records, studies  # noqa: F401
from campaign.ways.way import WAYS as WAYS
from campaign.ways.way import case_of as case_of
from campaign.ways.way import enter_case as enter_case

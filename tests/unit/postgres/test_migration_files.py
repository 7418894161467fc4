"""A migration that somebody may have applied stays as it is: ``migrate`` refuses a site whose file has changed."""

from typing import Final

from spotadapters.postgres.migrate import _available, _digest

FINGERPRINTS: Final = {
    "0001_initial.sql": "1f0d07ddf892a645",
    "0002_aggregate_functions.sql": "1270bb94c92365f3",
    "0003_ledger.sql": "7aaa8b91613c1ee5",
    "0004_notices.sql": "c20f28f51e429a96",
    "0005_screens.sql": "685bd575a21118aa",
    "0007_models.sql": "02e3f017dbaf5275",
    "0008_sessions.sql": "7cb45e879d691338",
    "0009_row_security.sql": "8f7229e45ca67527",
    "0011_audit_seals.sql": "ac80d28c978384c8",
    "0012_ledger.sql": "2cdf9e5d837f4f84",
    "0014_plans.sql": "f760f42ebb79e607",
    "0015_price_quality.sql": "4b6dfb43453cb096",
    "0016_jobs.sql": "49138fecc36ca824",
    "0017_datasets.sql": "3872eaa1d214628d",
    "0018_channels.sql": "1254043e1cae40e9",
    "0019_pulses.sql": "eec8a09547cd1526",
    "0020_price_groups.sql": "80ccced1a1af1bd9",
    "0021_advisor.sql": "6a6964c9c191b1e6",
    "0022_feed_position.sql": "cc2d263265367287",
    "0023_small_groups.sql": "d9022636ee6ebc6a",
    "0024_clock_steps.sql": "937fb821bf0973a9",
    "0025_own_prices.sql": "1f79bc0f934870d3",
    "0026_listed_ondemand.sql": "724a88b37c318d0e",
    "0027_together.sql": "6a293bb7c6be8892",
    "0028_price_weeks.sql": "832a0e73f19e5c4d",
    "0029_first_observed.sql": "c47c67b05c43a2ed",
    "0030_emails.sql": "3b6ffe8a065a102c",
    "0031_setting_ranges.sql": "24e2e900f574b470",
    "0032_market_costs.sql": "2a6a31a623983963",
    "0033_agent_documents.sql": "6b64f88ef25b17aa",
    "0034_reports_looked_up.sql": "7426eea7cc567db8",
    "0035_known_agents.sql": "ac7012bdac940521",
    "0036_rehearsals.sql": "b26fbda192962f45",
    "0037_look_ups.sql": "e6dff4a718b2aae0",
    "0038_rows_of_an_agent.sql": "0a3ec0b5fb8d955d",
    "0039_rows_of_an_old_agent.sql": "4c10c840db9b71cb",
    "0040_pressed_agents.sql": "3645c4222475ed7a",
    "0041_seals_looked_up.sql": "b7e4cb749f823589",
    "0043_lately.sql": "3bb34650d2b516c4",
}
"""A new file adds a line. A line that has been on main is never changed: what shall be otherwise is a new migration."""


def test_no_migration_has_changed_and_each_new_one_is_listed() -> None:
    assert {name: _digest(text)[:16] for name, text in _available()} == FINGERPRINTS

"""Answers of a server, one for each endpoint the commands ask, with every field the contract names."""

from typing import Any, Final

AT: Final = "2026-03-02T12:00:00Z"
C: Final = "client-1"
A: Final = "agent-1"
M: Final = "i-0abc"

CLIENT: Final[dict[str, Any]] = {
    "id": C, "name": "Acme", "email": None, "status": "active", "agentsOnline": 2, "agentsTotal": 3, "instances": 4,
    "totalSavings": 10.5, "realisedSavings": 8.25, "lastSync": AT, "createdAt": AT,
}  # fmt: skip
MONTH: Final = {
    "baseline_cost": 100.5, "actual_cost": 40.25, "realised_savings_period": 60.25, "savings_percentage": 59.95,
    "replica_cost": 1.5, "zombie_cost": 0.5, "estimated_hours": 12, "unpriced_hours": 0, "projected_monthly": None,
    "estimate": True,
}  # fmt: skip
AGENT: Final[dict[str, Any]] = {
    "id": A, "logicalAgentId": "web-1", "hostname": "host-1", "clientId": C, "clientName": "Acme", "instanceId": M,
    "instanceType": "m5.large", "region": "us-east-1", "az": "us-east-1a", "currentMode": "spot",
    "currentPoolId": "m5.large.us-east-1a", "status": "online", "enabled": True, "autoSwitchEnabled": True,
    "manualReplicaEnabled": False, "version": "5.0", "configVersion": 4, "lastHeartbeatAt": AT, "createdAt": AT,
}  # fmt: skip
CLIENT_AGENT: Final[dict[str, Any]] = {
    "id": A, "logicalAgentId": "web-1", "hostname": "host-1", "instanceId": M, "instanceType": "m5.large",
    "region": "us-east-1", "az": "us-east-1a", "currentMode": "spot", "currentPoolId": "m5.large.us-east-1a",
    "status": "online", "lastHeartbeat": AT, "instanceCount": 1, "enabled": True, "autoSwitchEnabled": True,
    "manualReplicaEnabled": False, "autoTerminateEnabled": True, "terminateWaitMinutes": 5, "agentVersion": "5.0",
    "configVersion": 4, "noticeStatus": "none",
}  # fmt: skip
FOUND_AGENT: Final[dict[str, Any]] = {
    "id": A, "clientId": C, "clientName": "Acme", "client": "Acme", "name": "host-1", "hostname": "host-1",
    "status": "online", "instanceId": M,
}  # fmt: skip
CONFIG: Final[dict[str, Any]] = {
    "agent_id": A, "enabled": True, "auto_switch_enabled": True, "manual_replica_enabled": False,
    "auto_terminate_enabled": True, "terminate_wait_seconds": 300, "terminate_wait_minutes": 5,
    "replica_enabled": False, "replica_count": 0, "min_savings_percent": 15.0, "risk_threshold": 0.3,
    "max_switches_per_week": 10, "max_switches_per_day": 3, "min_pool_duration_hours": 2, "cleanup_enabled": True,
    "emergency_rebalance_only": False, "preferred_azs": [], "excluded_pools": [], "emergency_min_risk": 0.0,
    "failover_on_heartbeat_loss_seconds": None, "decision_engine_active": True, "config_version": 4,
}  # fmt: skip
MACHINE: Final[dict[str, Any]] = {
    "id": M, "instanceId": M, "clientId": C, "clientName": "Acme", "agentId": A, "logicalAgentId": "web-1",
    "agentStatus": "online", "agentHostname": "host-1", "region": "us-east-1", "az": "us-east-1a",
    "instanceType": "m5.large", "currentMode": "spot", "currentPoolId": "m5.large.us-east-1a", "spotPrice": 0.0312,
    "ondemandPrice": None, "isActive": True, "isPrimary": True, "instanceStatus": "running_primary",
    "savingsPercent": None, "installedAt": AT, "createdAt": AT,
}  # fmt: skip
CLIENT_MACHINE: Final[dict[str, Any]] = {
    "id": M, "type": "m5.large", "region": "us-east-1", "az": "us-east-1a", "mode": "spot",
    "poolId": "m5.large.us-east-1a", "spotPrice": 0.0312, "onDemandPrice": 0.096, "isActive": True,
    "instanceStatus": "running_primary", "isPrimary": True, "lastSwitch": None, "agentId": A, "installedAt": AT,
}  # fmt: skip
METRICS: Final[dict[str, Any]] = {
    "id": M, "instanceType": "m5.large", "currentMode": "spot", "currentPoolId": "m5.large.us-east-1a",
    "spotPrice": 0.0312, "onDemandPrice": 0.096, "baselineOnDemandPrice": 0.096, "uptimeHours": 7,
    "hoursSinceLastSwitch": 7, "totalSwitches": 3, "switchesLast7Days": 1, "switchesLast30Days": 2,
    "savingsLast30Days": 4.5, "totalSavings": 6.5, "interruptionCount": 1, "avgSwitchDowntimeSeconds": None,
}  # fmt: skip
REPLICA: Final[dict[str, Any]] = {
    "agentId": A,
    "primary": {"instanceId": M, "instanceType": "m5.large", "region": "us-east-1", "az": "us-east-1a", "mode": "spot"},
    "replica": {
        "id": "replica-1", "instanceId": "i-0def", "type": "manual", "status": "ready", "sync_status": "synced",
        "sync_latency_ms": None, "state_transfer_progress": 100.0,
        "pool": {"id": "m5.large.us-east-1b", "name": "m5.large.us-east-1b", "instance_type": "m5.large",
                 "region": "us-east-1", "az": "us-east-1b"},
        "cost": {"hourly": 0.031, "total": 0.5}, "created_by": "user", "created_at": AT, "ready_at": AT,
        "terminated_at": None, "is_active": True,
    },
}  # fmt: skip
SIMULATION: Final = {
    "simulation": {
        "current_price": 0.0312, "target_price": 0.0222, "hourly_savings": 0.009, "daily_savings": 0.216,
        "monthly_savings": 6.48, "estimated_downtime_seconds": None, "confidence": 0.75, "volatility_risk": "low",
        "interruption_probability_24h": None, "recommendation": "strongly_recommended",
    }
}  # fmt: skip
EMERGENCY: Final = {
    "agent_id": A, "notice_status": "rebalance", "notice_received_at": AT, "notice_deadline": None,
    "emergency_replica": {"id": "replica-2", "status": "syncing", "pool_id": "m5.large.us-east-1c", "sync_progress": 40.0},
    "actions": ["replica_created"], "emergency_mode_active": True, "rebalance_only_mode": False,
    "ml_models_loaded": False, "decision_engine_active": True, "last_emergency_event": None,
    "emergency_replicas_count": 1, "termination_notices_24h": 0,
}  # fmt: skip
NOTIFICATION: Final = {
    "id": "note-1",
    "message": "Agent web-1 is offline",
    "severity": "warning",
    "isRead": False,
    "time": AT,
    "clientId": C,
}
ACTIVITY: Final = {
    "id": 7, "type": "switch", "text": "web-1 now runs on i-0def", "time": AT, "severity": "info",
    "eventType": "switch_completed", "clientId": C, "clientName": "Acme",
}  # fmt: skip
SESSION: Final = {
    "id": "session-1", "session_id": "session-1", "status": "active", "isLive": True, "isFallback": False,
    "fileCount": 2, "files": ["manifest.json", "weights.safetensors"], "totalSize": 2048, "createdAt": AT,
    "activatedAt": AT,
}  # fmt: skip
UPLOADED: Final = {
    "success": True, "files": ["manifest.json"], "files_uploaded": ["manifest.json"], "sessionId": "session-2",
    "session_id": "session-2", "requiresRestart": True,
    "model_status": {"filesUploaded": 1, "totalSize": 3, "sessionType": "pending_activation"},
}  # fmt: skip
POOLS: Final = {
    "total_pools": 3, "active_pools": 2, "inactive_pools": 1,
    "regions": [{"region": "us-east-1", "pools": 3, "average_price": 0.031, "cheapest_price": None}],
    "instance_types": [
        {"instance_type": "m5.large", "pools_available": 3, "avg_spot_price": 0.031, "ondemand_price": 0.096}
    ],
    "total": 3, "active": 2,
}  # fmt: skip
STATS: Final = {
    "totalAccounts": 5, "agentsOnline": 41, "agentsTotal": 43, "totalInstances": 47, "poolsCovered": 3,
    "totalSavings": 10.5, "realisedSavings": 8.25, "totalSwitches": 9, "manualSwitches": 1, "modelSwitches": 7,
    "emergencySwitches": 1, "backendHealth": "Healthy", "decisionEngineLoaded": True, "mlModelsLoaded": False,
}  # fmt: skip
HEALTH: Final = {
    "apiStatus": "Healthy", "database": "Connected", "decisionEngine": "Loaded", "connectionPool": "2/12",
    "timestamp": AT, "uptimeSeconds": 7200, "agents": {"total": 43, "online": 41, "offline": 2},
    "backgroundJobs": {"enabled": True, "running": True, "jobs": [
        {"name": "upkeep", "lastRun": AT, "lastStatus": "completed", "nextRun": None}]},
    "modelStatus": {"loaded": False, "name": "None", "version": "N/A", "filesUploaded": 0, "activeModels": [], "files": []},
    "decisionEngineStatus": {"loaded": True, "type": "rules", "version": "N/A", "filesUploaded": 0, "files": []},
}  # fmt: skip
JOB: Final = {
    "id": 1, "job_type": "price_consolidation", "status": "completed", "started_at": AT, "completed_at": AT,
    "records_processed": 120, "duplicates_removed": 3, "gaps_filled": 2, "error": None,
}  # fmt: skip
DAY: Final = {
    "date": "2026-03-02", "client_id": C, "client_name": "Acme", "emergency_event_count": 4, "rebalance_notices": 3,
    "termination_notices": 1, "failovers_completed": 1, "failovers_failed": 0,
}  # fmt: skip
PERIOD: Final = {"name": "March", "savings": 60.25, "onDemandCost": 100.5, "modelCost": 40.25}

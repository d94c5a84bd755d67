"""The published request of the DWCP compression selector, in the features of this project.

Source:
    NovaCron: docs/models/compression_selector_go_integration.md (``Predict``, ``ExtractFeatures``).
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

_MB: Final = 1024.0 * 1024.0
_MEMORY_MB: Final = 10_000.0
"""Available memory at which the published memory pressure is 0."""
LINKS: Final = {"dc": 0.0, "datacenter": 0.0, "metro": 1.0, "wan": 2.0, "internet": 3.0, "cellular": 4.0}
"""Places in `sim.scenarios.LINK_TYPES` by their names and ours; that module would bring a compiler."""
_UNKNOWN_LINK: Final = "metro"
"""As published."""

Amount = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NetworkState(_Group):
    """The path."""

    rttMs: Amount | None = Field(None, description="Round trip, ms.")  # noqa: N815 - as published
    jitterMs: Amount | None = Field(None, description="Its change, ms.")  # noqa: N815
    bandwidthMbps: Amount | None = Field(None, description="Available, Mbit/s.")  # noqa: N815
    linkType: str | None = Field(None, max_length=64, description="dc, metro or wan.")  # noqa: N815
    region: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Whose rollout counts, unless `region` says."
    )


class DataChars(_Group):
    """The payload."""

    sizeBytes: Amount | None = Field(None, description="Size, bytes.")  # noqa: N815
    entropy: Share | None = Field(None, description="Bits per byte over 8.")
    compressibilityScore: Share | None = Field(None, description="1 - 1/ratio of a fast codec.")  # noqa: N815


class SystemState(_Group):
    """The sender."""

    cpuUsage: Share | None = Field(None, description="Share of the cores in use.")  # noqa: N815
    memoryAvailableMB: Amount | None = Field(None, description="MiB.")  # noqa: N815


class Historical(_Group):
    """What was seen lately."""

    hdeCompressionRatio: Amount | None = None  # noqa: N815
    hdeDeltaHitRate: Amount | None = Field(None, description="%; no feature here tells it.")  # noqa: N815
    amstTransferRateMbps: Amount | None = Field(None, description="Mbit/s.")  # noqa: N815
    baselineCompressionRatio: Amount | None = None  # noqa: N815


def features_of(
    network: NetworkState | None,
    payload: DataChars | None,
    system: SystemState | None,
    history: Historical | None,
) -> dict[str, float | None]:
    """Features by our names, as far as the published groups tell them.

    >>> path = NetworkState(rttMs=80, bandwidthMbps=200, linkType="dc")
    >>> features_of(path, DataChars(sizeBytes=2**26), None, Historical(amstTransferRateMbps=150))
    {'rtt_ms': 80.0, 'bandwidth_mbps': 200.0, 'link_type': 0.0, 'size_mb': 64.0,
     'recent_amst_rate_share': 0.75}
    """
    found: dict[str, float | None] = {}
    if network:
        found |= {
            "rtt_ms": network.rttMs,
            "jitter_ms": network.jitterMs,
            "bandwidth_mbps": network.bandwidthMbps,
        }
        if network.linkType is not None:
            found["link_type"] = LINKS.get(network.linkType, LINKS[_UNKNOWN_LINK])
    if payload:
        found["size_mb"] = None if payload.sizeBytes is None else payload.sizeBytes / _MB
        found |= {"entropy": payload.entropy, "compressibility": payload.compressibilityScore}
    if system:
        available = system.memoryAvailableMB
        found["cpu_usage"] = system.cpuUsage
        found["memory_pressure"] = None if available is None else max(0.0, 1.0 - available / _MEMORY_MB)
    if history:
        found["recent_hde_ratio"] = history.hdeCompressionRatio
        found["recent_zstd_ratio"] = history.baselineCompressionRatio
        rate, bandwidth = history.amstTransferRateMbps, network.bandwidthMbps if network else None
        if rate is not None and bandwidth:
            found["recent_amst_rate_share"] = min(rate / bandwidth, 1e30)
    return {name: float(value) for name, value in found.items() if value is not None}

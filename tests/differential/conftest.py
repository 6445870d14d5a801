"""The differential tests stand on what the integration tests share: labs, proxies, deadlines (as fixtures and hooks)."""
import importlib.util
import pathlib
import sys

INTEGRATION = pathlib.Path(__file__).resolve().parents[1] / "integration"
sys.path.insert(0, str(INTEGRATION))
spec = importlib.util.spec_from_file_location("integration_conftest", INTEGRATION / "conftest.py")
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
# Under the name `conftest`, which proxies.py imports from, this module stands for the shared one.
globals().update({name: value for name, value in vars(shared).items() if not name.startswith("__")})

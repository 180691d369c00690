"""What systemd-stub does with a UKI, step by step; the steps are joined in `stubsim.stub.run`."""

"""What retrieval brings to completed geometry: ablation by the measures of RetrievalFuse (ICCV 2021)."""
